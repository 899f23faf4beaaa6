# Installs Debian packages and keeps them from starting their daemons, now and when the machine starts: xtask starts its
# own, on free ports. Servers that are already there stay as they are.
#
# Arguments: the packages. Runs as root.
set -e
policy=/usr/sbin/policy-rc.d
before=$policy.before-xtask
# PostgreSQL's packages create a cluster when they are installed, unless they are told not to.
settings=/etc/postgresql-common/createcluster.d
no_cluster=$settings/xtask.conf

restore() {
    rm -f "$policy" "$no_cluster"
    if [ -e "$before" ]; then mv "$before" "$policy"; fi
    if [ -d "$settings" ]; then rmdir -p --ignore-fail-on-non-empty "$settings"; fi
}
trap restore EXIT
trap 'exit 1' HUP INT TERM

# A run that was killed may have left its policy, and the former one beside it: that one is kept.
if [ -e "$policy" ] && [ ! -e "$before" ]; then mv "$policy" "$before"; fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

case " $* " in *" postgresql "*)
    mkdir -p "$settings"
    echo "create_main_cluster = false" >"$no_cluster"
    ;;
esac

new=
for package; do
    dpkg-query -s "$package" >/dev/null 2>&1 || new="$new $package"
done

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"

if command -v systemctl >/dev/null; then
    for package in $new; do
        dpkg -L "$package" | sed -n 's,.*/systemd/system/\([^/]*\.service\)$,\1,p' |
            xargs --no-run-if-empty systemctl disable --quiet
    done
fi
