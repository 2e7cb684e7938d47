#!/usr/bin/env bash
# Build Dify's command line and its plugin daemon, at the version that the tests know, into .cache/dify/bin (needs Go >= 1.26).
set -euo pipefail
cd "$(dirname "$0")/.."

module=github.com/langgenius/dify-plugin-daemon
version=v0.0.0-20260807055045-1310a18b2f6b # = 0.6.10; its tags are not semantic versions that Go accepts
export GOBIN=$PWD/.cache/dify/bin GOTOOLCHAIN=local CGO_ENABLED=0

for program in commandline server; do
    if [ ! -x "$GOBIN/$program" ]; then
        go install -ldflags "-X main.VersionX=v0.6.10" "$module/cmd/$program@$version"
    fi
done
