# Runs a command so that it ends, with all its children, when xtask ends.
#
# xtask holds the other end of standard input for as long as it wants the command. The kernel closes that end when xtask
# is killed, so that no signal handler is needed. Standard output gets the command's exit code on a line, and is closed
# when nothing is left.
#
# Arguments: the signal that asks the command to stop, the file that takes its output, the command.
signal=$1
log=$2
shift 2

exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
command=$!
# What this shell itself has to say, such as that the command was terminated, belongs to the output too.
exec 2>>"$log"

(
    trap '' HUP INT TERM
    while read -r _ <&3; do :; done
    kill -s "$signal" "$command" 2>/dev/null
    tenths=50
    while [ "$tenths" -gt 0 ] && kill -s 0 "$command" 2>/dev/null; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
    # This shell leads the process group, so the children go with it, and so does this shell.
    kill -s KILL 0
) &

wait "$command"
echo "$?"
