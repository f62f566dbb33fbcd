// The signature with WebCrypto alone (Workers, Deno, Bun, Node.js): no Buffer, no node: modules.
export async function signed(secret, id, body, at = Math.floor(Date.now() / 1000)) {
  const raw = Uint8Array.from(atob(secret.replace(/^whsec_/, '')), (it) => it.charCodeAt(0));
  const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const mac = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(`${id}.${at}.${body}`));
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(at),
    'webhook-signature': `v1,${btoa(String.fromCharCode(...new Uint8Array(mac)))}`,
  };
}
// await fetch(hookUrl, { method: 'POST', body, headers: await signed(secret, `msg_${crypto.randomUUID()}`, body) })
