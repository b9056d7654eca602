# `just` lists what can be done. just comes with most distributions, or as `npm install -g rust-just`.

export CGO_ENABLED := "0"

# Everything there is
@_default:
    just --list --unsorted

# Build dist/rapsheet-linux-{amd64,arm64}: static, stripped; `just build 0.1.0` names the version
build version="":
    for arch in amd64 arm64; do \
        GOARCH=$arch go build -trimpath -ldflags "-s -w -X main.version={{ version }}" -o dist/rapsheet-linux-$arch ./cmd/rapsheet || exit; \
    done

# All tests; as root with rsyslog, openssh-server and sshpass the stories with real daemons run too
test *packages="./...":
    go test {{ packages }}

# The tests under the race detector, which needs gcc; but for those that count allocations, for it makes some itself
race *packages="./...":
    CGO_ENABLED=1 go test -race -skip Alloc {{ packages }}

# gofmt, vet and staticcheck, for amd64 and arm64
lint:
    bash .ci/lint

# Format
fmt:
    gofmt -s -w $(find . -name '*.go' -not -path './.git/*')

# Every fuzz target, one after the other; `just fuzz 10m` for longer
fuzz time="60s":
    bash .ci/fuzz {{ time }}

# Each figure of ours is printed beside its ceiling, measured in the same run: the pipeline on one core and on all for
# the mixes quiet and auth; TCP beside a bare newline counter; UDP beside a bare recvmmsg reader (CPU a message); the
# store beside a bare WriteBatch loop; message to kernel set. RAPSHEET_LONG=1 takes the full sizes, not the tests' small ones.

# Benchmarks of all packages, with allocations; `just bench ./pipeline/...` for some. Leave the machine alone meanwhile
bench *packages="./...":
    RAPSHEET_LONG=1 go test -run '^$' -bench . -benchmem -timeout 60m {{ packages }}

# An attack, its ban and the rap sheet, in a private network: no root, nothing on this host is touched
demo:
    go run ./cmd/rapsheet demo

# The stories alone, with real rsyslogd and sshd, as root; what cannot run is a failure (integration/README.md)
integration *flags:
    RAPSHEET_NO_SKIP=1 go test -count=1 {{ flags }} ./integration/...

# Known holes in what we depend on; fetches its database from the network
vuln:
    go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

# Exactly what CI runs, as root: installs the daemons that the stories need
ci:
    bash .ci/run
