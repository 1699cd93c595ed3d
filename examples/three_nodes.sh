#!/bin/sh
# Three nodes, one swarm, one client: the main job of p2pimg from beginning to end, on this
# machine, in separate processes. Then one node is killed: what it held is on the others, and
# gets its second copy again; when the node is back, the copies too many go.
#
#   examples/three_nodes.sh [FOLDER_OF_PICTURES]
#
# Without a folder it makes up some pictures. It works on copies in a temporary folder,
# which it removes at the end, and needs nothing but cargo and a POSIX shell.
set -eu

cd "$(dirname "$0")/.."
patience=${PATIENCE:-90} # seconds that any single step may take
source_folder=
if [ $# -gt 0 ]; then
    source_folder=$(cd "$OLDPWD" && cd "$1" && pwd) || exit 2
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/p2pimg-example.XXXXXX")
pids=

say() { printf '\n== %s\n' "$*"; }

fail() {
    printf '\nthree_nodes.sh: %s\n' "$*" >&2
    for number in 1 2 3; do
        [ -s "$work/$number.err" ] || continue
        printf -- '-- the last lines of node %s:\n' "$number" >&2
        tail -n 5 "$work/$number.err" >&2
    done
    exit 1
}

clean_up() {
    # Only what was started here.
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    for pid in $pids; do wait "$pid" 2>/dev/null || :; done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# json LINE FIELD: the text of a plain string or number in a line of JSON.
json() { printf '%s\n' "$1" | sed -n 's/.*"'"$2"'":"\{0,1\}\([^",}]*\).*/\1/p'; }

# wait_for WHAT COMMAND...: until the command succeeds, but not for ever.
wait_for() {
    what=$1
    shift
    left=$patience
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "waited too long for $what"
        for pid in $pids; do
            kill -0 "$pid" 2>/dev/null || fail "a node ended while waiting for $what"
        done
        sleep 1
    done
}

# Nothing of this user's own: no swarm key, no list of nodes, no settings.
P2PIMG_HOME=$work/home
export P2PIMG_HOME
unset P2PIMG_CAPACITY P2PIMG_COPIES P2PIMG_DIR P2PIMG_LISTEN P2PIMG_BOOTSTRAP P2PIMG_STATE P2PIMG_SWARM_KEY P2PIMG_OPEN P2PIMG_PEER \
    P2PIMG_JSON P2PIMG_NO_MDNS P2PIMG_NEW_FOLDER || :

say "building"
cargo build --quiet --bin p2pimg --example deal_images
built=${CARGO_TARGET_DIR:-target}/debug
p2pimg=$built/p2pimg

say "dealing pictures into three folders"
if [ -n "$source_folder" ]; then
    "$built/examples/deal_images" "$source_folder" "$work/folders" 3
else
    "$built/examples/deal_images" --make 24 "$work/folders" 3
fi

# start NUMBER [OPTION...]: starts a node on its folder, on any free port.
start() {
    number=$1
    shift
    : >"$work/$number.events" # there before anybody looks into it
    # So that nobody has to wait: a node is given up after seconds, and one that starts may remove
    # something after seconds. Duplicates stay, whatever pictures these are.
    "$p2pimg" node --dir "$work/folders/$number" --listen /ip4/127.0.0.1/tcp/0 --no-mdns --json \
        --repair-after 3s --lease-seconds 5 --dedup report "$@" \
        >>"$work/$number.events" 2>"$work/$number.err" &
    pid=$!
    pids="$pids $pid"
    wait_for "node $number to listen" grep -q '"event":"listening"' "$work/$number.events"
    address=$(json "$(grep '"event":"listening"' "$work/$number.events" | head -n 1)" address)
    printf 'node %s: %s\n' "$number" "$address"
}

say "starting three nodes; 2 and 3 know only the address of 1"
start 1
address1=$address
start 2 --bootstrap "$address1"
start 3 --bootstrap "$address1"
peer3=${address##*/p2p/}
pid3=$pid

client() { "$p2pimg" client --peer "$address1" "$@"; }

say "waiting until they have looked at their folders and know each other"
scanned='"event":"scan_done".*"unsettled":0[,}]'
for number in 1 2 3; do
    # A file that was written a moment ago is taken up by the next look at the folder.
    wait_for "the scan of node $number" grep -q "$scanned" "$work/$number.events"
done
expected=0
for number in 1 2 3; do
    images=$(json "$(grep "$scanned" "$work/$number.events" | tail -n 1)" images)
    expected=$((expected + images))
done
[ "$expected" -gt 0 ] || fail "no pictures in the folders"

# Every holder's pictures, as node 1 lists them. A picture that lies in two of the folders is
# one row with two holders.
knows_all() {
    client list --json >"$work/list" 2>"$work/client.err" || return 1
    held=$(sed -n 's/.*"holders":\[\([^]]*\)\].*/\1/p' "$work/list" | tr ',' '\n' | grep -c .) || :
    [ "$held" -ge "$expected" ]
}
wait_for "node 1 to know all $expected pictures" knows_all
contents=$(grep -c . "$work/list")
printf 'they do: %s pictures\n' "$contents"

# How many copies there are, as node 1 sees it.
copies() { client status 2>/dev/null | grep '^copies' || :; }

# Whether every picture that it knows of has its copies, and none is one too many; says how it stands.
two_each() {
    now=$(copies | sed 's/ ([0-9]* s ago)//')
    [ "$now" = "$shown" ] || printf '%s\n' "$now"
    shown=$now
    client status --json >"$work/status" 2>/dev/null || :
    grep -q "\"census\":{\"contents\":$contents,.*\"more\":0,\"short\":0," "$work/status"
}
shown=

say "waiting until every picture is on two nodes"
wait_for "two copies of every picture" two_each

say "node 1 and the other nodes that it knows (p2pimg client status, peers)"
client status || [ $? -eq 10 ] || fail "no status"
client peers || fail "no peers"

say "some of the list, asked of node 1 (p2pimg client list)"
client list >"$work/table" || fail "no list"
head -n 8 "$work/table" | cut -c 1-16,65-

# A picture of node 3's folder: a hash of its own, and a path that no other folder has, without
# anything that JSON escapes.
row=
while IFS= read -r line; do
    file=$(printf '%s\n' "$line" | sed -n 's/.*"path":"\([^"]*\)".*/\1/p')
    if [ -f "$work/folders/3/$file" ] && [ ! -e "$work/folders/1/$file" ] && [ ! -e "$work/folders/2/$file" ] &&
        [ "$(grep -c "\"hash\":\"$(json "$line" hash)\"" "$work/list")" -eq 1 ]; then
        row=$line
        path=$file
        break
    fi
done <<ROWS
$(grep "$peer3" "$work/list" | grep -v -e '"path_hex"' -e '\\')
ROWS
[ -n "$row" ] || fail "no picture is in the folder of node 3 alone"
hash=$(json "$row" hash)

say "killing node 3 (kill -9), and waiting until every picture is on two nodes again"
kill -9 "$pid3"
wait "$pid3" 2>/dev/null || :
pids=$(printf '%s\n' "$pids" | sed "s/ $pid3\$//")
gone() { client peers --json >"$work/peers" && grep "$peer3" "$work/peers" | grep -q '"state":"down"'; }
wait_for "node 3 to be given up" gone
wait_for "two copies of every picture" two_each

say "getting a picture of node 3's folder, through node 1 (p2pimg client get)"
printf 'p2pimg client get %s\n' "$hash"
client get "$hash" -o "$work/got/" >"$work/got.path" || fail "get failed"
got=$(cat "$work/got.path")

cmp "$got" "$work/folders/3/$path" || fail "the bytes differ"
printf 'got %s: %s bytes, the same as in the folder of node 3\n' "${got##*/}" "$(wc -c <"$got" | tr -d ' ')"

say "starting node 3 again, and waiting until no picture is on more than two nodes"
start 3 --bootstrap "$address1"
back() { client peers --json >"$work/peers" && grep "$peer3" "$work/peers" | grep -q '"state":"live"'; }
wait_for "node 3 to be back" back
# As soon as its catalog is read there are too many, and not for long: looked at often.
left=50
until two_each || true; grep -q '"more":[1-9]' "$work/status" || [ "$left" -eq 0 ]; do
    left=$((left - 1))
    sleep 0.2 2>/dev/null || sleep 1
done
wait_for "the copies too many to go" two_each

say "everything works; stopping the nodes"
