//! The command line of the real binary, as far as it needs no swarm: help, usage errors,
//! exit codes, keys, completions.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use assert_cmd::Command;
use p2pimg::error::ExitCode;
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
    for command in
        ["", "node", "keygen", "client", "client list", "client get", "client show", "client status"]
    {
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
        for command in ["get", "show"] {
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
