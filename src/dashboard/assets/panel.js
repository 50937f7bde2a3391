// Keeps a page up to date, and saves some typing. Everything works without it, but for that.
"use strict";

const $ = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ---- theme
const themes = ["system", "light", "dark"];
const themeButton = $("#theme");
function showTheme() {
  const chosen = document.documentElement.dataset.theme || "system";
  themeButton.textContent = chosen === "system" ? "Theme: system" : `Theme: ${chosen}`;
}
if (themeButton) {
  themeButton.hidden = false;
  showTheme();
  themeButton.addEventListener("click", () => {
    const chosen = document.documentElement.dataset.theme || "system";
    const next = themes[(themes.indexOf(chosen) + 1) % themes.length];
    try {
      if (next === "system") localStorage.removeItem("sluice-theme");
      else localStorage.setItem("sluice-theme", next);
    } catch {
      // It lasts until the page is left.
    }
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    showTheme();
  });
}

// ---- times: the reader's own, with the rollout's beside it where the two differ
const local = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
function showTimes(within) {
  for (const time of all("time[data-offset]", within)) {
    if (time.dataset.shown) continue;
    time.dataset.shown = "yes";
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime()) || -at.getTimezoneOffset() === Number(time.dataset.offset)) continue;
    const theirs = document.createElement("span");
    theirs.className = "theirs";
    theirs.textContent = time.textContent;
    time.replaceChildren(local.format(at), " ", theirs);
  }
}
showTimes(document);

// ---- a page of which parts are replaced by what the server says now
function keyOf(element) {
  return element && element !== document.body ? element.id || element.getAttribute("href") || element.name || "" : "";
}
function take(page, only) {
  for (const part of all("[data-live]")) {
    if (only && part.dataset.live !== only) continue;
    const fresh = $(`[data-live="${CSS.escape(part.dataset.live)}"]`, page);
    if (!fresh) continue;
    showTimes(fresh);
    // What somebody has opened stays open.
    for (const details of all("details[id]", part)) {
      const same = details.open && $(`#${CSS.escape(details.id)}`, fresh);
      if (same) same.open = true;
    }
    if (fresh.isEqualNode(part)) continue;
    if (part.matches("select")) {
      // It stays open, where the keyboard is and with what is chosen, while what it offers changes.
      const chosen = part.value;
      part.replaceChildren(...fresh.childNodes);
      part.value = chosen;
      continue;
    }
    const focused = part.contains(document.activeElement) ? keyOf(document.activeElement) : "";
    part.replaceWith(fresh);
    if (focused) {
      const again = all("a, button, input, select", fresh).find((element) => keyOf(element) === focused);
      if (again) again.focus({ preventScroll: true });
    }
  }
}
async function read(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" }, redirect: "error" });
  if (answer.status === 401) return location.reload();
  if (!answer.ok && answer.status !== 404) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}
let reading = false;
let again = false;
let readAt = Date.now();
async function refresh() {
  // Where nothing is kept up to date nothing is read.
  if (!$("[data-live]")) return;
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  readAt = Date.now();
  try {
    const page = await read(location.href);
    if (page) take(page);
  } catch {
    // The stream says what is wrong.
  }
  await new Promise((done) => setTimeout(done, 400));
  reading = false;
  if (again) {
    again = false;
    refresh();
  }
}

// ---- live
const live = $("#live");
let source = null;
let heard = Date.now();
let lost = 0;
// Two beats of the server may be missed on the way; after that nobody is there.
const silence = 2500 * Number(document.body.dataset.beat || 10);
function say(state, text) {
  if (!live) return;
  live.dataset.state = state;
  const said = $(".said", live);
  if (said.textContent !== text) said.textContent = text;
  document.documentElement.classList.toggle("stale", state === "lost");
}
function age() {
  const seconds = Math.round((Date.now() - heard) / 1000);
  return seconds < 60 ? `${seconds} s` : seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
function isLost(why) {
  if (!lost) lost = Date.now();
  say("lost", `${why}: what you see is ${age()} old`);
}
function isLive() {
  heard = Date.now();
  if (lost) refresh();
  lost = 0;
  say("live", "Live");
}
function open() {
  if (!document.body.dataset.liveFrom || source) return;
  source = new EventSource(document.body.dataset.liveFrom);
  source.addEventListener("live", isLive);
  source.addEventListener("changed", () => {
    isLive();
    refresh();
  });
  source.addEventListener("lost", () => isLost("The API server cannot be reached"));
  source.addEventListener("over", () => location.reload());
  source.onerror = () => {
    isLost("The connection is lost");
    // Some failures end a source for good.
    if (source.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, 2000);
    }
  };
}
function close() {
  if (source) source.close();
  source = null;
}
if (live) {
  open();
  // A page that nobody looks at keeps no connection.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    open();
    refresh();
  });
  addEventListener("pagehide", close);
  setInterval(() => {
    if (document.hidden) return;
    if (lost) isLost($(".said", live).textContent.split(":")[0]);
    else if (Date.now() - heard > silence) isLost("The connection is lost");
    const every = $("[data-every]");
    const isOld = every && Date.now() - readAt > 1000 * Number(every.dataset.every);
    if ($("[data-waiting]") || isOld) refresh();
  }, 1000);
}

// ---- forms
for (const form of all("form[data-auto]")) {
  let timer = 0;
  const send = () => form.requestSubmit();
  form.addEventListener("change", (event) => event.target.tagName === "SELECT" && send());
  form.addEventListener("input", (event) => {
    if (event.target.type !== "search") return;
    clearTimeout(timer);
    timer = setTimeout(send, 500);
  });
}
for (const slider of all("[data-slides]")) {
  const number = document.getElementById(slider.dataset.slides);
  slider.addEventListener("input", () => {
    number.value = slider.value;
  });
  number.addEventListener("input", () => {
    const value = Number.parseFloat(number.value);
    if (!Number.isNaN(value)) slider.value = String(value);
  });
}
for (const form of all("form[data-preview]")) {
  let timer = 0;
  form.addEventListener("input", (event) => {
    if (event.target.name === "reason") return;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const fields = new URLSearchParams(new FormData(form));
      fields.delete("csrf");
      fields.delete("reason");
      try {
        const page = await read(`${form.dataset.preview}?${fields}`);
        if (page) take(page, "preview");
      } catch {
        // The old preview stays; the answer to the action counts.
      }
    }, 200);
  });
  form.addEventListener("submit", () => {
    for (const button of all("button[type=submit]", form)) button.disabled = true;
  });
}

// ---- after a link from another site
const onward = $("#again");
if (onward) location.replace(onward.href);
