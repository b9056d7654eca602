# pid 1 of a host: $1 its name, $2 an empty folder. Private mounts, /dev, /run, name; says ready on descriptor 3; then
# reaps what the host's daemons leave to it, until it is killed.
set -e
name=$1 work=$2
mount --make-rprivate /
mount -t proc proc /proc
hostname "$name"

# The changes live in memory, in a mount that only this host sees.
mount -t tmpfs -o size=1g tmpfs "$work"
for d in etc var home root; do
	mkdir "$work/$d" "$work/$d.work"
	chmod --reference="/$d" "$work/$d"
	mount -t overlay overlay -o "lowerdir=/$d,upperdir=$work/$d,workdir=$work/$d.work" "/$d"
done

rm -rf /etc/rapsheet /var/lib/rapsheet # of a machine that runs one itself

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/sshd
mount -t tmpfs -o mode=755 tmpfs /dev
for n in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
	set -- $n
	mknod -m 666 "/dev/$1" c "$2" "$3"
done
mkdir /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
for n in 0 1 2; do
	ln -s /proc/self/fd/$n /dev/"$(case $n in 0) echo stdin ;; 1) echo stdout ;; 2) echo stderr ;; esac)"
done

rm -f /etc/resolv.conf # often a link into the /run that is gone
: >/etc/resolv.conf
echo "$name" >/etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n198.51.100.1 srv srv.example.test\n198.51.100.2 web2\n198.51.100.66 atk\n' >/etc/hosts

# Addresses are usable at once, without duplicate address detection. A kernel without IPv6 has no such files.
for f in all default; do
	[ ! -e /proc/sys/net/ipv6 ] || echo 0 >/proc/sys/net/ipv6/conf/$f/disable_ipv6
	[ ! -e /proc/sys/net/ipv6 ] || echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad
done

echo ready >&3
exec 3>&-
set +e
trap : CHLD
while :; do
	sleep 3600 &
	wait $!
done
