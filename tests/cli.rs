//! The command line of the real binary, as far as it needs no swarm: help, usage errors,
//! exit codes, keys, completions.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use assert_cmd::Command;
use p2pimg::error::ExitCode;
use p2pimg::store::folder::{Folder, Home, Options};
use p2pimg::store::trash::{Disk as _, DropPlan, RealDisk, Trash};
use p2pimg::types::RelPath;
use tempfile::TempDir;

/// What a run of the binary left behind.
struct Run {
    code: i32,
    out: String,
    err: String,
}

/// Runs `p2pimg` for a user who has nothing yet.
fn p2pimg(home: &Path, args: &[&str]) -> Run {
    p2pimg_with(home, &[], args)
}

fn p2pimg_with(home: &Path, env: &[(&str, &str)], args: &[&str]) -> Run {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("p2pimg"));
    command.env_clear().env("P2PIMG_HOME", home).envs(env.iter().copied());
    let output = command.args(args).current_dir(home).timeout(std::time::Duration::from_secs(30)).output();
    let output = output.unwrap();
    Run {
        code: output.status.code().expect("ended by itself"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// Ended with `code` and exactly one line on standard error, which contains `parts`.
    #[track_caller]
    fn fails(&self, code: ExitCode, parts: &[&str]) {
        assert_eq!(self.code, code as i32, "{}{}", self.out, self.err);
        assert_eq!(self.err.trim_end().lines().count(), 1, "one line:\n{}", self.err);
        assert!(self.err.starts_with("p2pimg: "), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "'{part}' in: {}", self.err);
        }
        assert_eq!(self.out, "", "nothing on standard output");
    }
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_help_of_every_command_lists_every_exit_code() {
    let home = home();
    for command in [
        "",
        "node",
        "keygen",
        "client",
        "client list",
        "client get",
        "client show",
        "client status",
        "client duplicates",
        "client why",
        "client dedup approve",
        "trash",
        "trash empty",
    ] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let run = p2pimg(home.path(), &args);
        assert_eq!(run.code, 0, "{}", run.err);
        for (code, meaning) in ExitCode::ALL {
            let line = format!("  {:>2}  {meaning}", code as u8);
            assert!(run.out.contains(&line), "'{line}' in the help of '{command}'");
        }
    }
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let home = home();
    for (args, part) in [
        ("node", "--dir"),
        ("node --dir . --frobnicate", "--frobnicate"),
        ("node --dir . --listen 192.168.1.5:4011", "/ip4/192.168.1.5/tcp/4011"),
        ("node --dir . --bootstrap /ip4/1.2.3.4/udp/1", "TCP"),
        ("node --dir . --decode-memory lots", "512M"),
        ("node --dir . --rescan soon", "10m"),
        ("node --dir . --open --swarm-key k", "--swarm-key"),
        ("node --dir . --dedup maybe", "trash, report, off"),
        ("node --dir . --keep [a", "'[a' is no pattern"),
        ("node --dir . --trash-days 0", "--trash-days"),
        ("node --dir . --max-drop 101", "--max-drop"),
        ("node --dir . --copies 0", "--copies"),
        ("client why", "HASH"),
        ("trash list", "--dir"),
        ("trash --state s list", "--dir"),
        ("trash show ../../etc/passwd", "20261123-110819-0"),
        ("trash restore", "ENTRY"),
        ("trash restore --all 20261123-110819-0", "--all"),
        ("trash empty --older-than soon", "10m"),
        ("client --no-swarm-key list --swarm-key k", "--swarm-key"),
        ("client --peer nas list", "multiaddress"),
        ("client list --sort beauty", "possible values"),
        ("client get", "HASH"),
        ("client get --all", "--output"),
        ("client get 123456 654321 -o -", "folder"),
        ("client get 123456 --open -o -", "--open"),
        ("client nonsense", "nonsense"),
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        p2pimg(home.path(), &args).fails(ExitCode::Usage, &[part, "p2pimg: "]);
    }
}

#[test]
fn a_hash_that_can_be_none_is_refused_before_connecting() {
    let home = home();
    let long = "0".repeat(65);
    for (hash, part) in
        [("12345", "this has 5"), (&long, "this has 65"), ("c:12", "this has 2"), ("12345g", "'g'")]
    {
        for command in ["get", "show", "why"] {
            let args = ["client", "--peer", "/ip4/127.0.0.1/tcp/1", command, hash];
            p2pimg(home.path(), &args).fails(ExitCode::Usage, &[part]);
        }
    }
}

#[test]
fn an_output_that_cannot_be_written_is_known_before_connecting() {
    let home = home();
    fs::write(home.path().join("there.jpg"), "mine").unwrap();
    let get = |output| p2pimg(home.path(), &["client", "get", "123456", "-o", output]);
    get("there.jpg").fails(ExitCode::Output, &["there.jpg exists", "--force"]);
    get("nowhere/a.jpg").fails(ExitCode::Output, &["no folder nowhere"]);
    assert_eq!(fs::read(home.path().join("there.jpg")).unwrap(), b"mine");
}

#[test]
fn environment_variables_are_options() {
    let home = home();
    let run = |name, value| p2pimg_with(home.path(), &[(name, value)], &["node", "--dir", "."]);
    run("P2PIMG_LISTEN", "here").fails(ExitCode::Usage, &["--listen"]);
    run("P2PIMG_RESCAN", "never").fails(ExitCode::Usage, &["--rescan"]);
    run("P2PIMG_OPEN", "perhaps").fails(ExitCode::Usage, &["--open"]);
    run("P2PIMG_DEDUP", "perhaps").fails(ExitCode::Usage, &["--dedup"]);
    run("P2PIMG_KEEP", "*.tif\n[a").fails(ExitCode::Usage, &["'[a' is no pattern"]);
}

/// A key in the environment is for every command; `--no-swarm-key` was refused as a
/// contradiction to it.
#[test]
fn what_is_typed_wins_over_the_environment() {
    let home = home();
    let missing = ("P2PIMG_SWARM_KEY", "missing.key");
    let list = ["client", "--peer", "/ip4/127.0.0.1/tcp/1", "list"];
    p2pimg_with(home.path(), &[missing], &list).fails(ExitCode::NotFound, &["missing.key"]);
    for args in [
        ["client", "--no-swarm-key", "--peer", "/ip4/127.0.0.1/tcp/1", "list"],
        ["client", "--peer", "/ip4/127.0.0.1/tcp/1", "list", "--no-swarm-key"],
    ] {
        p2pimg_with(home.path(), &[missing], &args).fails(ExitCode::CannotConnect, &["/tcp/1"]);
    }
    let keyless = [("P2PIMG_NO_SWARM_KEY", "1"), ("P2PIMG_OPEN", "1")];
    for args in
        [["client", "list", "--swarm-key", "typed.key"], ["node", "--dir=.", "--swarm-key", "typed.key"]]
    {
        p2pimg_with(home.path(), &keyless, &args).fails(ExitCode::NotFound, &["typed.key"]);
    }
    let both = [missing, keyless[0], keyless[1]];
    for args in [&["client", "list"][..], &["node", "--dir", "."]] {
        p2pimg_with(home.path(), &both, args).fails(ExitCode::Usage, &["--swarm-key"]);
    }
    let open = ["node", "--dir", "missing", "--open"];
    p2pimg_with(home.path(), &[missing], &open).fails(ExitCode::NotFound, &["folder missing"]);
}

#[test]
fn a_client_without_a_node_says_how_to_start_one() {
    let home = home();
    p2pimg(home.path(), &["client", "list"]).fails(ExitCode::CannotConnect, &["p2pimg node --dir", "--peer"]);
}

#[test]
fn a_key_is_made_once_and_only_for_its_owner() {
    let home = home();
    let key = home.path().join("swarm.key");
    let made = p2pimg(home.path(), &["keygen"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.contains(key.to_str().unwrap()), "{}", made.out);
    let text = fs::read_to_string(&key).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["/key/swarm/psk/1.0.0/", "/base16/"]);
    assert!(lines.len() == 3 && lines[2].len() == 64 && lines[2].bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    p2pimg(home.path(), &["keygen"]).fails(ExitCode::Output, &["already", "--force"]);
    assert_eq!(fs::read_to_string(&key).unwrap(), text, "untouched");
    assert_eq!(p2pimg(home.path(), &["keygen", "--force"]).code, 0);
    assert_ne!(fs::read_to_string(&key).unwrap(), text);
}

#[test]
fn a_key_goes_where_it_is_told_to() {
    let home = home();
    let made = p2pimg(home.path(), &["keygen", "--output", "my.key"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.contains("--swarm-key my.key"), "{}", made.out);
    assert!(!home.path().join("swarm.key").exists());
    p2pimg(home.path(), &["keygen", "-o", "my.key"]).fails(ExitCode::Output, &["my.key"]);
    p2pimg(home.path(), &["keygen", "-o", "my.key/k"]).fails(ExitCode::Output, &["my.key/k"]);
}

#[test]
fn a_file_that_is_no_key_is_named() {
    let home = home();
    fs::write(home.path().join("odd"), "/key/swarm/psk/1.0.0/\n/base16/\nnot digits\n").unwrap();
    let list = |key| p2pimg(home.path(), &["client", "--swarm-key", key, "list"]);
    list("odd").fails(ExitCode::Usage, &["odd", "hexadecimal digits"]);
    list("missing").fails(ExitCode::NotFound, &["missing", "keygen"]);
}

#[test]
fn completions_and_manual_pages_come_from_the_definitions() {
    let home = home();
    for shell in ["bash", "zsh", "fish"] {
        let run = p2pimg(home.path(), &["completions", shell]);
        assert!(run.code == 0 && run.out.contains("swarm-key"), "{shell}: {}", run.err);
    }
    assert!(p2pimg(home.path(), &["man"]).out.contains(".TH p2pimg 1"));
    assert_eq!(p2pimg(home.path(), &["man", "pages"]).code, 0);
    assert!(home.path().join("pages/p2pimg-trash-restore.1").exists());
    let page = fs::read_to_string(home.path().join("pages/p2pimg-client-get.1")).unwrap();
    assert!(page.contains("10  degraded"), "the exit codes");
}

/// The reader of a pipe that has seen enough is no error.
#[test]
fn a_closed_pipe_is_a_quiet_success() {
    let home = home();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("p2pimg"));
    command.env_clear().env("P2PIMG_HOME", home.path()).args(["completions", "bash"]).stdout(writer);
    let output = command.stderr(std::process::Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_dead_address_is_exit_code_5() {
    let home = home();
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let peer = format!("/ip4/127.0.0.1/tcp/{port}");
    p2pimg(home.path(), &["client", "--peer", &peer, "list"]).fails(ExitCode::CannotConnect, &[&peer]);
}

#[test]
fn a_folder_that_is_none_is_named() {
    let home = home();
    fs::write(home.path().join("file"), "").unwrap();
    let node = |dir| p2pimg(home.path(), &["node", "--dir", dir, "--no-mdns"]);
    node("missing").fails(ExitCode::NotFound, &["missing"]);
    node("file").fails(ExitCode::Usage, &["file", "folder"]);
}

#[test]
fn listening_to_the_world_needs_a_key_or_open() {
    let home = home();
    let args = ["node", "--dir", ".", "--no-mdns", "--listen", "/ip4/0.0.0.0/tcp/0"];
    p2pimg(home.path(), &args).fails(ExitCode::Usage, &["keygen", "--open"]);
}

/// A folder whose node has dropped some files and does not run.
struct Dropped {
    home: TempDir,
    /// Their names in the trash, in the order of the drops.
    entries: Vec<String>,
}

impl Dropped {
    fn new(paths: &[&str]) -> Self {
        let home = home();
        let photos = home.path().join("photos");
        let options = Options { state: None, home: Home::at(home.path()), accept_new: false };
        fs::create_dir(&photos).unwrap();
        let folder = Folder::open(&photos, &options).unwrap();
        let (trash, _) = Trash::open(folder.root()).unwrap();
        let mut entries = Vec::new();
        for path in paths {
            let full = photos.join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(&full, path).unwrap();
            let (content, look) = RealDisk.hash(&full).unwrap();
            let path = RelPath::from_bytes(path.as_bytes().to_vec()).unwrap();
            let plan = DropPlan::removal(path, content, look.fingerprint, SystemTime::now());
            let entry = trash.begin(plan).unwrap().confirm(Vec::new()).unwrap();
            entries.push(entry.id.to_string());
        }
        Self { home, entries }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("photos").join(name)
    }

    /// Runs `p2pimg trash`.
    fn trash(&self, args: &[&str]) -> Run {
        let args: Vec<&str> = ["trash", "--dir", "photos"].iter().chain(args).copied().collect();
        p2pimg(self.home.path(), &args)
    }

    /// Entries that are left.
    #[track_caller]
    fn left(&self) -> usize {
        let list = self.trash(&["list"]);
        assert_eq!((list.code, list.err.as_str()), (0, ""));
        list.out.lines().count()
    }
}

#[test]
fn the_trash_is_listed_and_shown_without_a_node() {
    let dropped = Dropped::new(&["a.jpg", "2019/b.jpg"]);
    let [first, second] = [&dropped.entries[0], &dropped.entries[1]];
    let list = dropped.trash(&["list"]);
    assert_eq!((list.code, list.err.as_str()), (0, ""), "{}", list.out);
    let fields: Vec<Vec<&str>> = list.out.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!([fields[0][0], fields[1][0]], [first, second], "the newest last");
    assert_eq!([fields[1][2], fields[1][3], fields[1][5]], ["10", "removed", "2019/b.jpg"]);

    let json = dropped.trash(&["list", "--json", "--trash-days", "1"]);
    let json: serde_json::Value = serde_json::from_str(json.out.lines().next().unwrap()).unwrap();
    assert_eq!((json["entry"].as_str(), json["path"].as_str()), (Some(first.as_str()), Some("a.jpg")));
    let days = json["expires_at"].as_u64().unwrap() - json["dropped_at"].as_u64().unwrap();
    assert_eq!(days, 86_400);

    let show = dropped.trash(&["show", second]);
    assert_eq!(show.code, 0, "{}", show.err);
    for part in ["a person removed it", "2019/b.jpg", &format!("p2pimg trash restore {second}")] {
        assert!(show.out.contains(part), "{part} in:\n{}", show.out);
    }
    let unknown = "20010101-000000-0";
    dropped.trash(&["show", unknown]).fails(ExitCode::NotFound, &[unknown, "trash list"]);
}

#[test]
fn a_dropped_file_comes_back_without_a_node_and_over_nothing() {
    let dropped = Dropped::new(&["a.jpg", "2019/b.jpg"]);
    let [first, second] = [dropped.entries[0].as_str(), dropped.entries[1].as_str()];
    let unknown = "20010101-000000-0";
    dropped.trash(&["restore", first, unknown]).fails(ExitCode::NotFound, &[unknown]);
    assert!(!dropped.path("a.jpg").exists(), "one of several was wrong: nothing is done");

    fs::write(dropped.path("a.jpg"), "another").unwrap();
    let run = dropped.trash(&["restore", first]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(run.out, "restored a.jpg as a (restored).jpg: its place is taken\n");
    assert_eq!(fs::read(dropped.path("a.jpg")).unwrap(), b"another");
    assert_eq!(fs::read(dropped.path("a (restored).jpg")).unwrap(), b"a.jpg");

    let run = dropped.trash(&["restore", "--all", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((json["entry"].as_str(), json["path"].as_str()), (Some(second), Some("2019/b.jpg")));
    assert_eq!(fs::read(dropped.path("2019/b.jpg")).unwrap(), b"2019/b.jpg");
    assert_eq!(dropped.left(), 0);
    let pins = fs::read_to_string(dropped.path(".p2pimg/pins")).unwrap();
    assert_eq!(pins.matches(" restored ").count(), 2, "and they stay: {pins}");
    assert_eq!(dropped.trash(&["restore", "--all"]).code, 0, "nothing is left to restore");
}

#[test]
fn the_trash_is_emptied_only_when_that_is_said_twice() {
    let dropped = Dropped::new(&["a.jpg", "2019/b.jpg"]);
    let parts = ["would delete 2 files, 15 B", "--yes"];
    dropped.trash(&["empty"]).fails(ExitCode::Refused, &parts);
    assert_eq!(dropped.left(), 2);
    let run = dropped.trash(&["empty", "--older-than", "1h", "--yes"]);
    assert_eq!((run.code, run.out.as_str()), (0, "nothing to delete\n"));
    assert_eq!(dropped.left(), 2);
    let run = dropped.trash(&["empty", "--yes"]);
    assert_eq!((run.code, run.out.as_str()), (0, "deleted 2 files, 15 B\n"), "{}", run.err);
    assert_eq!(dropped.left(), 0);
    assert!(!dropped.path("a.jpg").exists());
}

#[test]
fn a_look_for_a_trash_makes_no_node_of_a_folder() {
    let home = home();
    let photos = home.path().join("photos");
    fs::create_dir(&photos).unwrap();
    for command in ["list", "restore --all", "empty --yes"] {
        let args: Vec<&str> = ["trash", "--dir", "photos"].into_iter().chain(command.split(' ')).collect();
        p2pimg(home.path(), &args).fails(ExitCode::NotFound, &["photos/.p2pimg", "--state"]);
        let missing: Vec<&str> =
            args.iter().map(|arg| if *arg == "photos" { "nowhere" } else { arg }).collect();
        p2pimg(home.path(), &missing).fails(ExitCode::NotFound, &["nowhere"]);
    }
    // The trash of a node whose state is elsewhere: it can be read, and not changed from here.
    fs::create_dir_all(photos.join(".p2pimg-trash")).unwrap();
    let list = p2pimg(home.path(), &["trash", "--dir", "photos", "list"]);
    assert_eq!((list.code, list.out.as_str()), (0, ""));
    assert_eq!(fs::read_dir(&photos).unwrap().count(), 1, "nothing was made");
}

/// A process that has the folder and tells no address (a node that starts) is not passed by.
#[test]
fn a_folder_in_use_is_left_alone() {
    let dropped = Dropped::new(&["a.jpg"]);
    let options = Options { state: None, home: Home::at(dropped.home.path()), accept_new: false };
    let folder = Folder::open(&dropped.path(""), &options).unwrap();
    assert_eq!(dropped.left(), 1, "looking needs no lock");
    dropped.trash(&["restore", "--all"]).fails(ExitCode::Other, &["process", "try again"]);
    drop(folder);
    assert_eq!(dropped.trash(&["restore", "--all"]).code, 0);
}
