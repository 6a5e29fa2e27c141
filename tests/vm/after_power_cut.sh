# After the power came back: the store is whole, and the next build is right and uses what was kept.
set -eu
./wherry cache verify --state /var/lib/wherry
rm -rf out && mkdir -p context out && cp /bin/busybox context/busybox && echo again >context/number && echo small >context/big
cp tests/vm/Dockerfile context/Dockerfile
./wherry build --state /var/lib/wherry --progress plain -o out context
cmp out/bin/busybox /bin/busybox
[ "$(cat out/copied)" = again ] && [ "$(cat out/file40)" = 40 ] && [ "$(wc -l <out/old/numbers)" = 2000 ]
./wherry cache verify --state /var/lib/wherry
[ -z "$(ls /var/lib/wherry/ingest)" ] || ls -R /var/lib/wherry/ingest
echo whole
