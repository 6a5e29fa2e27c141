#!/usr/bin/env bash
# Layer export beside buildah: a tree of about 500 MB, put into one layer and stored; then the export alone (tar, hashes, gzip,
# digest) is timed, five times each in turns, and the medians' ratio printed. Run as root on a quiet machine, release build:
#   tests/bench/export.sh [FOLDER-TO-TAKE-FILES-FROM...]      (default: /usr/lib /usr/share, cut at 500 MB)
# PEER="COMMAND" runs buildah by that command (it gets the arguments behind it).
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
wherry=${WHERRY:-$here/build/release/wherry} peer=${PEER:-buildah} rounds=${ROUNDS:-5}
top=$(mktemp -d /var/tmp/wherry-bench.XXXXXX)
container=''
cleanup() {
  [ -n "$container" ] && buildah rm "$container" >/dev/null 2>&1
  awk -v d="$top/" 'index($2, d) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount 2>/dev/null
  rm -rf "$top"
}
trap cleanup EXIT
mkdir "$top/context" "$top/context/tree"
[ $# -gt 0 ] || set -- /usr/lib /usr/share
size=0
while IFS= read -r -d '' file && [ $size -lt 500000000 ]; do
  target=$top/context/tree/$file; mkdir -p "${target%/*}"; cp -p "$file" "$target"
  size=$((size + $(stat -c %s "$file")))
done < <(find "$@" -xdev -type f -size -64M -print0 2>/dev/null | sort -z)
printf 'FROM scratch\nCOPY tree /\n' > "$top/context/Dockerfile"
echo "tree: $((size / 1000000)) MB, $(find "$top/context/tree" -type f | wc -l) files"
ms() { local t=$(date +%s%N); "$@" >"$top/log" 2>&1 || { cat "$top/log" >&2; exit 1; }; echo $((($(date +%s%N) - t) / 1000000)); }
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
buildah() { command $peer --root "$top/buildah" --runroot "$top/run" --storage-driver "${DRIVER:-overlay}" "$@"; }
container=$(buildah from scratch); buildah copy -q "$container" "$top/context/tree" / >/dev/null
ours=() theirs=()
for i in $(seq "$rounds"); do
  # A store of its own each time: the blob must not be there yet.
  "$wherry" build -q --state "$top/state$i" "$top/context" >/dev/null 2>&1
  ours+=("$(ms "$wherry" build -q --state "$top/state$i" -o "type=oci,dest=$top/out.tar" "$top/context")")
  rm -rf "$top/state$i" "$top/out.tar"
  theirs+=("$(ms buildah commit -q "$container" "oci-archive:$top/peer.tar")"); rm -f "$top/peer.tar"
  echo "round $i: wherry ${ours[-1]} ms, buildah ${theirs[-1]} ms"
done
a=$(printf '%s\n' "${ours[@]}" | median) b=$(printf '%s\n' "${theirs[@]}" | median)
awk -v a="$a" -v b="$b" 'BEGIN {printf "median: wherry %d ms, buildah %d ms: %.1f times as fast\n", a, b, b / a}'
