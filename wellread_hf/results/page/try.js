// The students side by side, by transformers.js: each answers as soon as it is loaded, and again while one types.
const settings = JSON.parse(document.getElementById("settings").textContent);
const inputs = [...document.querySelectorAll("#asked textarea")];
const students = settings.models.map((id, place) => ({ id, shown: document.querySelectorAll(".answers article")[place] }));
const say = (student, text) => (student.shown.querySelector("p").textContent = text);

function chances(logits, config) {
  if (logits.length === 1) return logits;
  if (config.problem_type === "multi_label_classification") return logits.map((value) => 1 / (1 + Math.exp(-value)));
  const powers = logits.map((value) => Math.exp(value - Math.max(...logits)));
  return powers.map((value) => value / powers.reduce((one, other) => one + other));
}

async function answer(student) {
  const [text, pair] = inputs.map((input) => input.value);
  const started = performance.now();
  const encoded = student.tokenizer(text, { text_pair: pair ?? null, truncation: true });
  // transformers.js cuts a long text with its [SEP], and no model has read such a row.
  encoded.input_ids.data[encoded.input_ids.data.length - 1] = BigInt(student.tokenizer.sep_token_id);
  const { logits } = await student.model(encoded);
  const given = chances(Array.from(logits.data), student.model.config);
  say(student, `${(performance.now() - started).toFixed(1)} ms`);
  student.shown.querySelector("dl").replaceChildren(...given.flatMap((value, place) => {
    const [name, figure, bar] = ["dt", "dd", "meter"].map((tag) => document.createElement(tag));
    name.textContent = student.model.config.id2label?.[place] ?? `class ${place}`;
    if (given.length === 1) figure.textContent = value.toFixed(2);
    else {
      bar.value = value;
      bar.ariaLabel = name.textContent;
      figure.append(bar, `${(100 * value).toFixed(1)} %`);
    }
    return [name, figure];
  }));
}

// One question at a time: what is typed meanwhile is asked when the answer is there.
let [asked, busy] = [0, false];
async function ask() {
  asked += 1;
  if (busy) return;
  busy = true;
  for (let seen = 0; seen !== asked; ) {
    seen = asked;
    for (const student of students.filter((each) => each.model)) {
      await answer(student).catch((error) => say(student, `No answer: ${error.message}. Try another text.`));
    }
  }
  busy = false;
}
inputs.forEach((input) => input.addEventListener("input", ask));
document.getElementById("asked").addEventListener("submit", (event) => event.preventDefault());

async function load(student, { AutoTokenizer, AutoModelForSequenceClassification }) {
  const progress_callback = ({ status, file, progress }) =>
    status === "progress" && file.endsWith(".onnx") && say(student, `loads, ${Math.round(progress)} %`);
  const fetched = (dtype) => AutoModelForSequenceClassification.from_pretrained(student.id, { dtype, progress_callback });
  student.tokenizer = await AutoTokenizer.from_pretrained(student.id);
  // Where int8 was refused at its export there is fp32 alone.
  student.model = await fetched("q8").catch((error) => {
    if (error.message.includes("model_quantized.onnx")) return fetched("fp32");
    throw error;
  });
  // The first answer compiles; it is not the one that is timed.
  await student.model(student.tokenizer("warm up"));
}

students.forEach((student) => say(student, "loads"));
const failed = (student, error) => say(student, `Not loaded: ${error.message}. Reload the page to try again.`);
try {
  const library = await import(settings.library);
  // A folder beside this page has a name with a dot; all others are on the Hub.
  library.env.allowLocalModels = settings.models.some((id) => id.startsWith("./"));
  library.env.localModelPath = new URL(".", location).href;
  for (const student of students) {
    await load(student, library).then(ask, (error) => failed(student, error));
  }
} catch (error) {
  students.forEach((student) => failed(student, error));
}
