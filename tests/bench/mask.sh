#!/usr/bin/env bash
# The masker with 1,000 secrets beside `grep -F -f` with the same 1,000, on the same 200 MB of log: best of five each, one core.
# The masker looks for all derived forms of each secret too (base64, URL, ...), grep for the 1,000 alone.
#   tests/bench/mask.sh [build/release]
set -euo pipefail
build=${1:-build/release}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 - "$place" <<'P'
import random, string, sys
random.seed(7)
place = sys.argv[1]
letters = string.ascii_letters + string.digits
masks = ["".join(random.choices(letters, k=random.randint(16, 40))) for _ in range(1000)]
open(f"{place}/masks", "w").write("\n".join(masks) + "\n")
plain = ["npm http fetch GET 200 https://registry.npmjs.org/left-pad 42ms (cache hit)", "  CC      drivers/net/ethernet/intel/e1000/e1000_main.o",
         "#12 3.456 Get:7 http://deb.debian.org/debian bookworm/main amd64 libssl3 amd64 3.0.11-1 [2018 kB]",
         "test result: ok. 128 passed; 0 failed; 2 ignored; 0 measured; finished in 1.31s", "Step 4/9 : RUN make -j$(nproc) && make install",
         "2026-11-24T12:00:00.0000000Z [INFO] worker 17: processed 10240 records in 00:00:03"]
with open(f"{place}/log", "w") as out:
    size = 0
    while size < 200_000_000:
        line = random.choice(plain) + f" {random.getrandbits(48):x}"
        if random.random() < 0.0001:
            line += " " + random.choice(masks)
        size += len(line) + 1
        out.write(line + "\n")
P
best() { for _ in 1 2 3 4 5; do "$@"; done | sort -n | head -1; }
grep_once() { local a=$EPOCHREALTIME; LC_ALL=C taskset -c 0 grep -c -F -f "$place/masks" "$place/log" > "$place/hits"; local b=$EPOCHREALTIME; echo $(((${b/[.,]/} - ${a/[.,]/}))) ; }
mask_once() { taskset -c 0 "$build/bench_lang" mask "$place/masks" "$place/log" > "$place/said"; awk '{printf "%d\n", $1 * 1000000}' "$place/said"; }
mask=$(best mask_once)
grep=$(best grep_once)
echo "masker: $mask us, grep -F -f: $grep us, ratio $(awk "BEGIN{printf \"%.2f\", $grep / $mask}") (above 1: the masker is faster); lines: $(awk '{print $5}' "$place/said") / $(cat "$place/hits")"
