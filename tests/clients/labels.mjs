// The logits of texts by transformers.js: node labels.mjs FOLDER DTYPE < texts.json
import { AutoModelForSequenceClassification, AutoTokenizer, env } from "@huggingface/transformers";
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";

const [folder, dtype] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const name = basename(folder);
const tokenizer = await AutoTokenizer.from_pretrained(name);
const model = await AutoModelForSequenceClassification.from_pretrained(name, { dtype });
const answers = [];
// One by one: int8 scales activations by the whole batch, so a row's answer would depend on the others.
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  const { logits } = await model(await tokenizer(text, { truncation: true }));
  answers.push(Array.from(logits.data));
}
console.log(JSON.stringify(answers));
