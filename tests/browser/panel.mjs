// The panel in Chromium: node panel.mjs check ENTRANCE NAMESPACE ROLLOUT, or shots ENTRANCE NAMESPACE ROLLOUT FOLDER PLAYBOOK.
// ENTRANCE is the address that `sluice dashboard` prints.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [what, entrance, namespace, rollout, folder = "shots", playbook = "maya"] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin" });
const page = await context.newPage();
const faults = [];
page.on("console", (message) => message.type() === "error" && faults.push(`${page.url()}: ${message.text()}`));
page.on("pageerror", (error) => faults.push(`${page.url()}: ${error}`));
const { origin } = new URL(entrance);
page.on("request", (request) => {
  if (!request.url().startsWith(origin)) faults.push(`another host is asked: ${request.url()}`);
});

await page.goto(entrance);
if (page.url() !== `${origin}/`) faults.push(`the address keeps the token: ${page.url()}`);
const at = `/rollouts/${namespace}/${rollout}`;
await page.goto(`${origin}${at}`);
const file = await page.locator(".lead a").first().getAttribute("href");
const context1 = encodeURIComponent('{"targetingKey": "user-1"}');
const key = await page.locator(".lead code").first().textContent();
const pages = {
  rollouts: `/?namespace=${namespace}`,
  rollout: at,
  rollback: `${at}/rollback`,
  setpercent: `${at}/setpercent`,
  approve: `${at}/approve`,
  retry: `${at}/retry`,
  playbooks: "/playbooks",
  playbook: `/playbooks/${namespace}/${playbook}`,
  files: "/files",
  file: `${file}?flag=${encodeURIComponent(key)}&context=${context1}`,
  try: `/try?namespace=${namespace}&rollout=${rollout}`,
  missing: "/nowhere",
};

// Words of up to twenty letters of which a part stands in one line and a part in the next.
function brokenWords() {
  const broken = new Set();
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (node.parentElement.closest("svg, textarea, select, option, pre")) continue;
    for (const { 0: word, index } of node.data.matchAll(/[\p{L}\p{N}]+/gu)) {
      if (word.length > 20) continue;
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const tops = new Set([...range.getClientRects()].filter((rect) => rect.width > 1).map((rect) => Math.round(rect.top)));
      if (tops.size > 1) broken.add(word);
    }
  }
  return [...broken];
}

async function eachView(widths, look) {
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    for (const width of widths) {
      await page.setViewportSize({ width, height: width < 600 ? 844 : 900 });
      for (const [name, path] of Object.entries(pages)) {
        await page.goto(`${origin}${path}`);
        if (name === "try") {
          await page.getByRole("button", { name: "Show the plan" }).click();
          await page.locator("#result").waitFor();
        }
        await look(name, scheme, width);
      }
    }
  }
}

if (what === "shots") {
  await eachView([390, 1440], async (name, scheme, width) => {
    await page.waitForTimeout(300);
    await page.screenshot({ path: `${folder}/${name}-${scheme}-${width}.png`, fullPage: true });
    const courses = page.locator('[data-live="watched"]:has(.course)');
    if ((await courses.count()) > 0) await courses.screenshot({ path: `${folder}/courses-${scheme}-${width}.png` });
  });
} else {
  let looked = 0;
  await eachView([360, 768, 1440], async (name, scheme, width) => {
    await page.evaluate(axe);
    for (const details of await page.locator("details").all()) await details.evaluate((it) => (it.open = true));
    const { violations } = await page.evaluate(() =>
      globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    looked += 1;
    for (const { id, nodes } of violations) {
      faults.push(`${name}, ${scheme}, ${width} px: ${id}: ${nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
    }
    for (const word of await page.evaluate(brokenWords)) faults.push(`${name}, ${width} px: the word ${word} is broken`);
    const lines = await page.locator(".rollouts tbody th").evaluateAll((all) => all.map((it) => getComputedStyle(it).borderLeftWidth));
    if (width < 900 && lines.some((line) => line !== "0px")) faults.push(`${name}, ${width} px: a row has a line within its own`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) faults.push(`${name}, ${width} px: is ${wide} px wider than the screen`);
  });
  console.log(`axe has looked at ${looked} views`);

  // The courses of metrics follow what is measured by themselves, and what somebody has opened stays open.
  await page.goto(`${origin}${at}`);
  const course = page.locator(".course").first();
  const drawn = () => course.locator("path.curve").last().getAttribute("d");
  await course.locator("summary").click();
  const before = await drawn();
  for (let i = 0; (await drawn()) === before; i += 1) {
    if (i > 100) throw new Error("the courses stay as they were");
    await page.waitForTimeout(200);
  }
  if (!(await course.locator("details").evaluate((it) => it.open))) faults.push("the values were closed by a refresh");
  const gaps = await page.locator(".course rect.gap").count();
  if (gaps === 0) faults.push("missing data is not shown as missing");
  console.log("the courses are live");

  // A list that is filtered by state, in a page of its own.
  const list = await page.context().newPage();
  await list.goto(`${origin}${pages.rollouts}`);
  const row = list.locator(`tr:has(a[href="${at}"])`);
  const state = (await row.locator(".state").innerText()).trim();
  const chosen = list.locator('select[name="state"]');
  await chosen.selectOption(state);
  await list.waitForURL(/state=/);
  await row.waitFor();

  // From the list to a rollback, on a phone: two taps and a reason.
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(`${origin}${pages.rollouts}`);
  await page.getByRole("link", { name: "Roll back" }).first().click();
  // The reason has the focus as soon as the page is there, so that nobody has to tap it.
  await page.locator("textarea:focus, input:focus").waitFor();
  await page.keyboard.type("errors are rising");
  await page.getByRole("button", { name: "Roll back now" }).click();
  await page.getByRole("heading", { name: /Roll back: applied/ }).waitFor({ timeout: 30000 });
  await page.getByText(/Apps have it/).waitFor({ timeout: 30000 });
  await page.locator('#live[data-state="live"]').waitFor({ timeout: 30000 });
  console.log("two taps and a reason have rolled it back");

  // By itself, the row has left the list of its former state, and the filter offers the new one.
  await row.waitFor({ state: "detached", timeout: 30000 });
  if ((await chosen.inputValue()) !== state) faults.push("the filter has changed by itself");
  const offered = await chosen.locator("option").allInnerTexts();
  if (!offered.some((name) => name.startsWith("Roll"))) faults.push(`the filter offers only ${offered.join(", ")}`);
  console.log("a filtered list is live");
}
await browser.close();
// A page that is not there is looked at on purpose. What the browser says of it may come long after the page.
const found = new Set(faults.filter((fault) => !fault.includes("/nowhere") && !fault.includes("404")));
if (found.size > 0) {
  console.error([...found].join("\n"));
  process.exit(1);
}
