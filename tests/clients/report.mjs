// What a report does in Chromium, as JSON: node report.mjs FILE
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";
import { open } from "./driver.mjs";

const address = pathToFileURL(process.argv[2]).href;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ground = () => getComputedStyle(document.body).backgroundColor;

async function violations(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
}

const { browser, page, errors, requests } = await open(address);
await page.keyboard.press("Tab");
const found = { first: await page.evaluate(() => document.activeElement.textContent) };

// The head is reached and pressed without a pointer.
const head = page.locator("#rows thead th", { hasText: "difference" });
const column = () => page.$$eval("#rows tbody tr", (rows) => rows.map((row) => +row.cells[4].textContent));
await head.locator("button").focus();
await page.keyboard.press("Enter");
found.falling = await column();
await page.keyboard.press("Enter");
found.rising = await column();
found.sorted = await head.getAttribute("aria-sort");

await page.getByLabel("Words").fill("window.taken");
const shown = () => page.$$eval("#rows tbody tr", (rows) => rows.filter((row) => !row.hidden).map((row) => row.cells[0].textContent));
found.words = await shown();
await page.getByLabel("Words").fill("");
found.outcome = await page.getByLabel("Outcome").selectOption({ index: 1 });
found.outcomes = await page.$$eval("#rows tbody tr:not([hidden])", (rows) => rows.map((row) => row.cells[5].textContent));
found.taken = await page.evaluate(() => window.taken ?? null);
found.light = await page.evaluate(ground);
found.wrong = await violations(page);
await page.emulateMedia({ colorScheme: "dark" });
found.dark = await page.evaluate(ground);
found.wrongDark = await violations(page);
await page.setViewportSize({ width: 360, height: 740 });
found.narrow = await page.evaluate(() => document.documentElement.scrollWidth);
await browser.close();
console.log(JSON.stringify({ ...found, errors, requests }));
