# Runs a server, and starts it again whenever it was killed: that is what tests of outages do to it.
#
# A file called `down` in the current folder keeps a killed server down until the file is gone. A server that ends in
# any other way is not started again, and neither is one that was asked to stop.
#
# Arguments: the signal that stops the server, the server's command.
signal=$1
shift

server=
trap 'if [ -n "$server" ]; then kill -s "$signal" "$server" 2>/dev/null; wait "$server"; fi; exit 0' TERM

# What a killed server leaves behind, such as children that still hold its memory, may keep it from starting for a while.
tries=0
while :; do
    while [ -e down ]; do sleep 0.05; done
    "$@" &
    server=$!
    wait "$server"
    code=$?
    server=
    if [ "$code" -eq 137 ]; then
        tries=100
    elif [ "$tries" -gt 0 ]; then
        tries=$((tries - 1))
    else
        exit "$code"
    fi
    sleep 0.1
done
