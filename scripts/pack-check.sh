#!/usr/bin/env bash
# Packs the check of an adapter for a bare x86-64 Linux machine: one folder of less than 60 MB that needs no network, only
# bash, tar and gzip. Run it after `npm ci`, on x86-64 Linux:
#
#     scripts/pack-check.sh [FOLDER]        FOLDER is weftgrad-check by default
#
# On that machine, in the folder:  . enter.sh && node check.mjs       (and python3 pytorch.py REPORT.json to compare)
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out="$(realpath -m "${1:-weftgrad-check}")"
fail() { echo "pack-check: $*" >&2; exit 1; }

[ "$(uname -sm)" = 'Linux x86_64' ] || fail 'run it on x86-64 Linux: it packs the Node.js of this machine.'
[ -x "$root/node_modules/.bin/esbuild" ] || fail 'run `npm ci` first.'
if [ -e "$out" ] && [ ! -e "$out/check.mjs" ]; then fail "$out exists and is not a packed check; name another folder."; fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
pack="$work/pack"
mkdir -p "$pack/data" "$pack/node_modules/webgpu"
cd "$root"

commit="$(git rev-parse --short=12 HEAD 2>/dev/null || true)"
[ -z "$commit" ] || [ -z "$(git status --porcelain)" ] || commit="$commit+"
node_modules/.bin/esbuild bench/check/main.ts --bundle --platform=node --format=esm --target=node20 --log-level=warning \
  --external:webgpu '--external:@tensorflow/*' '--external:h5wasm*' \
  --define:bundledCommit="\"${commit:-unknown}\"" \
  --banner:js="import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" \
  --outfile="$pack/check.mjs"
node -p "const { name, version } = require('./package.json'); JSON.stringify({ name, version, type: 'module' })" > "$pack/package.json"
cp bench/pytorch.py "$pack/"

# Node.js itself, and Dawn's library for this platform alone. Both are unpacked into a private folder by enter.sh.
node="$(readlink -f "$(node -p process.execPath)")"
! ldd "$node" | grep -q libnode || fail "$node needs the library libnode.so. Use the build of Node.js from nodejs.org."
mkdir -p "$work/native/bin" "$work/native/lib"
cp "$node" "$work/native/bin/node"
cp node_modules/webgpu/package.json node_modules/webgpu/index.js "$pack/node_modules/webgpu/"
mkdir -p "$work/native/webgpu/dist"
cp -r node_modules/webgpu/dist/linux-x64* "$work/native/webgpu/dist/"

# The Vulkan loader: a GPU's driver may come without it.
loader="$(ldconfig -p | sed -n 's/.*libvulkan\.so\.1 .*x86-64.* => //p' | head -n 1)"
if [ -z "$loader" ]; then
  (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download libvulkan1 && dpkg -x libvulkan1_*.deb loader) \
    || fail 'libvulkan.so.1 is missing, and apt-get cannot download the package libvulkan1.'
  loader="$(find "$work/loader" -name 'libvulkan.so.1' | head -n 1)"
fi
cp "$(readlink -f "$loader")" "$work/native/lib/libvulkan.so.1"
tar -C "$work/native" -cf - . | gzip -9 > "$pack/native.tar.gz"

# The first images of Fashion-MNIST, as many as the trajectory uses.
node --import ./scripts/tsx.mjs scripts/pack-check-data.ts "$pack/data"

cat > "$pack/enter.sh" <<'IN'
# Source it: . enter.sh && node check.mjs
weftgrad_check="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# Unpack native code into a folder that only this user can write.
if [ -z "${WEFTGRAD_NATIVE:-}" ] || [ ! -x "$WEFTGRAD_NATIVE/bin/node" ]; then
  WEFTGRAD_NATIVE="$(mktemp -d)" && tar -C "$WEFTGRAD_NATIVE" -xzf "$weftgrad_check/native.tar.gz" || return 1
  rm -rf "$weftgrad_check/node_modules/webgpu/dist"
  ln -s "$WEFTGRAD_NATIVE/webgpu/dist" "$weftgrad_check/node_modules/webgpu/dist" || return 1
fi
export WEFTGRAD_NATIVE PATH="$WEFTGRAD_NATIVE/bin:${PATH:-/usr/bin:/bin}"
# Prefer the system's loader: it knows where the system's drivers are.
ldconfig -p 2> /dev/null | grep -q 'libvulkan\.so\.1' || export LD_LIBRARY_PATH="$WEFTGRAD_NATIVE/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# Some containers mount NVIDIA's driver where no loader looks.
for weftgrad_icd in /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json; do
  [ -z "${VK_DRIVER_FILES:-}" ] && [ -e "$weftgrad_icd" ] && export VK_DRIVER_FILES="$weftgrad_icd" VK_ICD_FILENAMES="$weftgrad_icd"
done
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$WEFTGRAD_NATIVE}" WEFTGRAD_DATA_DIR="${WEFTGRAD_DATA_DIR:-$weftgrad_check/data}"
# Download nothing. WEFTGRAD_NO_SETUP=0 lets it download a software driver if there is no GPU.
export WEFTGRAD_NO_SETUP="${WEFTGRAD_NO_SETUP-1}"
IN
cat > "$pack/README.md" <<'IN'
# The check of an adapter

In bash, in this folder:

    . enter.sh && node check.mjs

It takes at most seven minutes (`--quick`: two; see `--help`) and writes a report (`.json`) and a page (`.md`) into the
current folder. To compare with PyTorch, if it is installed:

    python3 pytorch.py REPORT.json && node check.mjs --page REPORT.json --pytorch pytorch.json
IN

bytes="$(du -sb "$pack" | cut -f1)"
[ "$bytes" -lt 60000000 ] || fail "the folder has $bytes bytes; the limit is 60,000,000."
rm -rf "$out"
mkdir -p "$(dirname "$out")"
cp -r "$pack" "$out"
echo "$out: $bytes bytes"
