// Chromium as the tests use it: a page, and what went wrong on it.
import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";

export async function open(address, { width = 1200, height = 900, dark = false } = {}) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  const colorScheme = dark ? "dark" : "light";
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  const errors = [];
  const requests = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  await page.route("https://cdn.jsdelivr.net/**", fromNpm);
  await page.goto(address);
  return { browser, page, errors, requests };
}

// What the CDN would answer, from the packages that are installed here: NAME@VERSION is a package's main file.
function fromNpm(route) {
  const [, name, file] = /npm\/(@[^@]+|[^@]+)@[^/]+\/?(.*)/.exec(route.request().url());
  const home = new URL(`node_modules/${name}/`, import.meta.url);
  const main = JSON.parse(readFileSync(new URL("package.json", home), "utf8")).jsdelivr;
  const body = readFileSync(new URL(file || main, home));
  const contentType = (file || main).endsWith("wasm") ? "application/wasm" : "text/javascript";
  return route.fulfill({ body, contentType, headers: { "access-control-allow-origin": "*" } });
}
