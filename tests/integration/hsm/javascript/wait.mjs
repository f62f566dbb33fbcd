// Standard input: {"answers": [{"GET"|"PUT" answer} …], "credential": …}. Runs putCredential and settled against
// them, in order; prints what was sent and what came of it. `answers[0]` is the enrolment key.
import { readFileSync } from "node:fs";
import { putCredential, settled } from "../../../../gateway/console/static/seal.mjs";

const { answers, credential } = JSON.parse(readFileSync(0, "utf8"));
const sent = [];
const request = async (method, path, body) => {
  sent.push([method, path, body ?? null]);
  return answers.shift();
};
let end;
try {
  await putCredential(request, "a/b", { apiKey: "k", secret: "s3cret", testOrder: true });
  end = { live: (await settled(request, "a/b", credential, { tries: 5, pauseMs: 1 })).api_key };
} catch (error) {
  end = { refused: error.message };
}
console.log(JSON.stringify({ sent, end }));
