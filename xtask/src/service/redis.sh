# Runs several servers, each in a folder that is called as its port, and starts each again when a test has killed it.
#
# Arguments: the text of restart.sh, what to do once they run, the ports. A folder with a file `sentinel` is a Sentinel's.
restart=$1
agree=$2
shift 2

ask() {
    port=$1
    shift
    until "$CLI" -p "$port" --user sessions --no-auth-warning "$@" 2>/dev/null; do sleep 0.05; done
}

bus() {
    sed -n 's/^cluster-port //p' "$1/server.conf"
}

servers=
trap 'kill $servers 2>/dev/null; wait; exit 0' TERM

for port in "$@"; do
    mode=
    if [ -e "$port/sentinel" ]; then mode=--sentinel; fi
    (cd "$port" && exec sh -c "$restart" restart TERM "$SERVER" server.conf $mode) &
    servers="$servers $!"
done

eval "$agree"
wait
