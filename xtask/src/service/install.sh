# Installs Debian packages and keeps them from starting their daemons: xtask starts its own, on free ports.
#
# Arguments: the packages. Runs as root.
set -e
policy=/usr/sbin/policy-rc.d
before=$policy.before-xtask

restore() {
    rm -f "$policy"
    if [ -e "$before" ]; then mv "$before" "$policy"; fi
}
trap restore EXIT
trap 'exit 1' HUP INT TERM

# A run that was killed may have left its policy, and the former one beside it: that one is kept.
if [ -e "$policy" ] && [ ! -e "$before" ]; then mv "$policy" "$before"; fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
