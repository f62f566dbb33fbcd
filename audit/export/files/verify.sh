#!/bin/sh
# Checks one record of this package with openssl and the tools of any Unix: sh verify.sh INDEX KEY.pem
#
# 1. The signature of the checkpoint, under the log's public key (compare KEY.pem with one you trust).
# 2. That the record leads to the signed root by its inclusion proof (RFC 9162, section 2.1.3.2).
set -eu
[ $# -eq 2 ] || { echo "usage: sh verify.sh INDEX KEY.pem" >&2; exit 64; }
index=$1 key=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

hex() { od -An -v -tx1 | tr -d ' \n'; }
bytes() { # hex digits to bytes, by octal escapes, which every printf knows
    rest=$1
    while [ -n "$rest" ]; do
        two=${rest%"${rest#??}"}
        rest=${rest#??}
        printf "\\$(printf %03o "0x$two")"
    done
}
digest() { openssl dgst -sha256 -binary | hex; }

head -n 3 checkpoint >"$work/text"
openssl pkey -pubin -in "$key" -outform DER >"$work/key"
origin=$(sed -n 1p checkpoint)
if [ "$(wc -c <"$work/key")" -eq 44 ]; then # Ed25519: its last 32 bytes are the key
    id=$({ printf '%s\n\001' "$origin"; tail -c 32 "$work/key"; } | digest | cut -c 1-8)
    verify() { openssl pkeyutl -verify -rawin -pubin -inkey "$key" -in "$work/text" -sigfile "$work/signature"; }
else # ECDSA over P-256
    id=$(digest <"$work/key" | cut -c 1-8)
    verify() { openssl dgst -sha256 -verify "$key" -signature "$work/signature" "$work/text"; }
fi
found=
sed -n 's/^— [^ ]* //p' checkpoint >"$work/signatures"
while read -r line; do
    printf %s "$line" | openssl base64 -d -A >"$work/one"
    if [ "$(head -c 4 "$work/one" | hex)" = "$id" ]; then
        tail -c +5 "$work/one" >"$work/signature"
        found=yes
    fi
done <"$work/signatures"
[ -n "$found" ] || { echo "refused: no signature by this key"; exit 1; }
verify >/dev/null 2>&1 || { echo "refused: the signature does not verify"; exit 1; }

proof=proofs/$index.tlog-proof
[ "$(sed -n 2p "$proof")" = "index $index" ] || { echo "refused: the proof is of another record"; exit 1; }
sed '1,/^$/d' "$proof" | cmp -s - checkpoint || { echo "refused: another checkpoint"; exit 1; }
running=$({ printf '\000'; cat "leaves/$index.json"; } | digest)
fn=$index sn=$(($(sed -n 2p checkpoint) - 1))
sed -n '3,/^$/p' "$proof" | sed '/^$/d' >"$work/path"
while read -r line; do
    sibling=$(printf %s "$line" | openssl base64 -d -A | hex)
    [ "$sn" -gt 0 ] || { echo "refused: the proof is too long"; exit 1; }
    if [ $((fn & 1)) -eq 1 ] || [ "$fn" -eq "$sn" ]; then
        running=$({ printf '\001'; bytes "$sibling$running"; } | digest)
        while [ $((fn & 1)) -eq 0 ] && [ "$fn" -ne 0 ]; do fn=$((fn >> 1)) sn=$((sn >> 1)); done
    else
        running=$({ printf '\001'; bytes "$running$sibling"; } | digest)
    fi
    fn=$((fn >> 1)) sn=$((sn >> 1))
done <"$work/path"
root=$(sed -n 3p checkpoint | openssl base64 -d -A | hex)
[ "$sn" -eq 0 ] && [ "$running" = "$root" ] || { echo "refused: it does not lead to the signed root"; exit 1; }
echo "ok: record $index is in the signed log of $(sed -n 2p checkpoint) records"
