// What the Space answers in Chromium, as JSON: node space.mjs ADDRESS TEXT
import { open } from "./driver.mjs";

const [address, text] = process.argv.slice(2);
const { browser, page, errors, requests } = await open(address);
const answers = page.locator(".answers article");
const states = () => answers.locator("p").allTextContents();
const answered = () =>
  page.waitForFunction(() =>
    [...document.querySelectorAll(".answers p")].every((state) => / ms$|^No/.test(state.textContent)),
  );
await answered();
await page.locator("#asked textarea").fill(text);
// As somebody types: an answer a letter, and the last one is of the whole text.
for (const letter of " and so on") await page.keyboard.type(letter, { delay: 30 });
await page.locator("#asked textarea").fill(text);
await page.waitForTimeout(500);
const said = await answers.evaluateAll((shown) =>
  shown.map((each) => ({
    name: each.getAttribute("aria-label"),
    state: each.querySelector("p").textContent,
    labels: [...each.querySelectorAll("dt")].map((label) => label.textContent),
    chances: [...each.querySelectorAll("meter")].map((meter) => meter.value),
  })),
);
const narrow = await page.setViewportSize({ width: 360, height: 740 }).then(() => page.evaluate(() => document.documentElement.scrollWidth));
await browser.close();
console.log(JSON.stringify({ said, narrow, errors, requests }));
