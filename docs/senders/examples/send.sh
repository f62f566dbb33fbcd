#!/usr/bin/env bash
# A signal with curl and openssl: HOOK_URL=https://…/v1/hooks/… HOOK_SECRET=whsec_… ./send.sh '{"ticker":…}'
set -euo pipefail

body=$1
id=${MESSAGE_ID:-msg_$(openssl rand -hex 16)}

# The key goes to openssl in its arguments: run this on a machine of your own, or use one of the programs beside it.
key=$(printf %s "${HOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')

for attempt in 1 2 3; do
  at=$(date +%s) # every attempt is signed anew, under the same id
  signature=$(printf %s "$id.$at.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
  answer=$(curl --silent --show-error --max-time 10 --write-out '\n%{http_code}' \
    --header 'content-type: application/json' \
    --header "webhook-id: $id" --header "webhook-timestamp: $at" --header "webhook-signature: v1,$signature" \
    --data-binary "$body" "$HOOK_URL") || answer=$'\n000'
  status=${answer##*$'\n'}
  answer=${answer%$'\n'*}
  case $status in
    200 | 202) printf '%s\n' "$answer"; exit 0 ;;
    000 | 408 | 429 | 5??) printf '%s\n' "$answer" >&2; sleep "$attempt" ;; # not known: ask again, which causes nothing twice
    *) printf '%s\n' "$answer"; exit 1 ;; # refused: it would be again
  esac
done
echo "no answer for $id: send the same again under this id" >&2
exit 2
