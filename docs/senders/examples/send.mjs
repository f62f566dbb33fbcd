// A signal with Node.js 18 or newer: HOOK_URL=https://…/v1/hooks/… HOOK_SECRET=whsec_… node send.mjs '{"ticker":…}'
import { createHmac, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

const body = process.argv[2]; // encoded once: these bytes are signed, and these bytes are sent
const id = process.env.MESSAGE_ID ?? `msg_${randomUUID()}`;
const key = Buffer.from(process.env.HOOK_SECRET.replace(/^whsec_/, ''), 'base64');

function headers() {
  const at = Math.floor(Date.now() / 1000); // every attempt is signed anew, under the same id
  const signature = createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64');
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(at),
    'webhook-signature': `v1,${signature}`,
  };
}

for (let attempt = 1; attempt <= 3; attempt++) {
  try {
    const answer = await fetch(process.env.HOOK_URL, {
      method: 'POST', body, headers: headers(), redirect: 'manual', signal: AbortSignal.timeout(10_000),
    });
    const text = await answer.text();
    const refused = answer.status < 500 && answer.status !== 408 && answer.status !== 429;
    if (answer.ok || refused) {
      console.log(text); // the one answer that counts; what is asked again goes to stderr
      process.exit(answer.ok ? 0 : 1);
    }
    console.error(text);
    await sleep(1000 * Math.max(attempt, Number(answer.headers.get('retry-after')) || 0));
  } catch (error) { // silence: the attempt may have arrived; asking again causes nothing twice
    console.error(String(error));
    await sleep(1000 * attempt);
  }
}
console.error(`no answer for ${id}: send the same again under this id`);
process.exit(2);
