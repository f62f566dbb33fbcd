// Standard input: {"key": answer of GET /v1/enrolment-key, "secret": …, "sealing": …}. Prints the envelope.
import { readFileSync } from "node:fs";
import { seal } from "../../../../gateway/console/static/seal.mjs";

const { key, secret, sealing } = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(await seal(key, secret, sealing));
