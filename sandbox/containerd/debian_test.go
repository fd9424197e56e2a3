package containerd

import (
	"context"
	"strings"
	"testing"

	"moorage/sandbox"
	"moorage/sandbox/sandboxtest"
)

// TestDebian: root's work in a whole system goes on as on a machine of its own.
// Its packages make users and groups, setuid programs and file capabilities.
func TestDebian(t *testing.T) {
	onEach(t, func(t *testing.T, f *fixture) {
		const image = "example.test/debian:latest"
		if _, err := f.Import(context.Background(), sandboxtest.DebianTar(t, image), ""); err != nil {
			t.Fatal(err)
		}
		if err := f.Create(t.Context(), sandbox.Spec{Ref: ref, Image: image}); err != nil {
			t.Fatal(err)
		}
		if err := f.Start(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		in := f.enter(ref)
		if in.ids().IsZero() {
			t.Error("it has no user namespace")
		}
		for _, step := range debianSteps {
			if got := in.shell(step.line); !strings.HasSuffix(got, step.want) {
				t.Fatalf("%s\n%s\nexpected at the end: %s", step.line, got, step.want)
			}
		}
		upper := f.upper(ref)
		for path, want := range map[string]uint32{"/usr/bin/sudo": 0, "/home/carla": 1000, "/home/carla/f": 1000, "/usr/bin/hello": 0} {
			if got := ownerOf(t, upper+path); got != want {
				t.Errorf("%s belongs to %d on disk, expected %d", path, got, want)
			}
		}
		f.closedToOthers(upper)
		f.again(ref)
		if got := f.enter(ref).shell("getcap /usr/bin/hello; stat -c %U:%a /usr/bin/sudo; dpkg --audit"); got != "/usr/bin/hello cap_net_bind_service=ep\nroot:4755" {
			t.Errorf("started again: %q", got)
		}
	})
}

var debianSteps = []struct{ line, want string }{
	{"dpkg -i /repo/hello_*.deb && hello", "Hello, world!"},
	{"chown 1234:1234 /usr/bin/hello && chmod 6755 /usr/bin/hello && stat -c %u:%g:%a /usr/bin/hello && chown 0:0 /usr/bin/hello && chmod 755 /usr/bin/hello", "1234:1234:6755"},
	{"setcap cap_net_bind_service=ep /usr/bin/hello && getcap /usr/bin/hello && hello", "Hello, world!"},
	// A repository as one makes it by hand, in the bot's data.
	{`cp -r /repo /data/repo && cd /data/repo && for d in *.deb; do
		dpkg-deb -f $d && printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' $d $(stat -c %s $d) $(sha256sum < $d | cut -d' ' -f1) || exit 1
	done > Packages && rm -f /etc/apt/sources.list.d/* && echo 'deb [trusted=yes] file:/data/repo ./' > /etc/apt/sources.list && apt-get update && echo updated`, "updated"},
	{"apt-get install -y --no-install-recommends cron sudo iputils-ping && dpkg --audit && echo installed", "installed"},
	{"stat -c %U:%G:%a /usr/bin/sudo /usr/bin/crontab /var/spool/cron/crontabs", "root:root:4755\nroot:crontab:2755\nroot:crontab:1730"},
	{"getcap /bin/ping", "/bin/ping cap_net_raw=ep"}, // it is not in the bounding set: to run it is another matter
	{"groupadd staff2 && useradd -m -G staff2 carla && adduser --disabled-password --gecos '' dora > /dev/null && id carla && id -u dora", "uid=1000(carla) gid=1001(carla) groups=1001(carla),1000(staff2)\n1002"},
	{`su carla -c 'touch ~/f && stat -c %U:%G ~/f && cat /etc/shadow 2>&1 | tail -1'`, "carla:carla\ncat: /etc/shadow: Permission denied"},
	{"su - dora -c 'cd && echo hi > note && cat note /home/carla/f 2>&1; id -un'", "dora"},
	{"apt-get remove -y cron > /dev/null && test ! -e /usr/bin/crontab && userdel -r dora 2>/dev/null; getent passwd dora || echo gone", "gone"},
	{"chroot / /bin/echo chroot && nice -n 5 true && setpriv --reuid 1000 --clear-groups id -u", "1000"},
}
