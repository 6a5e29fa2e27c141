# Builds one image after another, each with a new file below an old RUN and a new RUN on top, and says which is done.
# $1: the first number. Runs until it is stopped, or the power goes.
set -eu
mkdir -p context && cp /bin/busybox context/busybox
cp tests/vm/Dockerfile context/Dockerfile
n=$1
while :; do
  echo "$n" >context/number
  head -c 3000000 /dev/urandom >context/big
  sha256sum <context/big | cut -d' ' -f1 >sum
  ./wherry build --state /var/lib/wherry -q -o "type=oci,dest=/var/out-$n.tar" context >id
  sync -f "/var/out-$n.tar"
  echo "built $n $(cat id) $(cat sum)"
  n=$((n + 1))
done
