// Page: keeps the numbers of the page current. Two kinds of change: power comes with the
// news themselves and is written at once; all else is asked of the node as finished HTML.

const body = document.body.dataset;
const language = document.documentElement.lang;
const link = document.getElementById("link");
const clock = document.getElementById("clock");
const meters = new Map();

// Which parts a piece of news makes old, and how long their next exchange may wait (ms).
const OLD = {
  live: [["power"], 4000],
  block: [["blocks", "node", "orders"], 1500],
  period: [["today", "period", "prices", "balance", "energy", "trades", "orders"], 500],
  order: [["orders"], 500],
  health: [["node"], 500],
};
const ALL = ["now", "power", "today", "period", "prices", "balance", "energy", "trades", "orders", "blocks", "node"];
const STALE_MS = 60000;

// --- parts

const wanted = new Set();
let due = 0;
let timer = 0;
let fetching = false;

function want(names, wait) {
  for (const name of names) wanted.add(name);
  const at = performance.now() + wait;
  if (timer && due <= at) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(exchange, wait);
}

async function exchange() {
  timer = 0;
  if (fetching || !wanted.size) return;
  // A hidden page waits until somebody looks at it again.
  if (document.hidden) return;
  fetching = true;
  const names = [...wanted];
  wanted.clear();
  try {
    const response = await fetch(`/parts?of=${names.join(",")}&lang=${language}`);
    if (response.ok) show(await response.json());
    else names.forEach((name) => wanted.add(name));
  } catch {
    // The node is away; the event stream says so, and what is old is asked for when it is back.
    names.forEach((name) => wanted.add(name));
  } finally {
    fetching = false;
  }
  if (wanted.size && link.className === "live") want([], 1000);
}

function show(parts) {
  for (const [name, html] of Object.entries(parts)) {
    const place = document.querySelector(`[data-part="${name}"]`);
    const open = [...place.querySelectorAll("details[open]")].map((one) => one.id);
    place.innerHTML = html;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  }
  tick();
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) want(wanted.size ? [] : ["now", "power"], 0);
});

// --- power

const grouped = (number) => String(Math.abs(number)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const watts = (number) => `${grouped(number)}\u00a0W`;
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

function heard(live) {
  const known = meters.get(live.meter);
  if (known && known.arrived_ms > live.arrived_ms) return;
  meters.set(live.meter, { ...live, at: performance.now() });
}

function write(id, power) {
  const place = document.getElementById(id);
  const way = power < 0 ? "gives" : "draws";
  const number = document.createElement("b");
  number.textContent = grouped(power);
  const word = document.createElement("span");
  word.textContent = body[way];
  place.className = `big ${way}`;
  place.replaceChildren(number, " W ", word);
}

function sum() {
  let own = null;
  let produced = null;
  let taken = 0;
  let given = 0;
  for (const meter of meters.values()) {
    if (performance.now() - meter.at > STALE_MS) continue;
    if (meter.account === body.account) {
      own = (own ?? 0) + meter.power_w;
      if (meter.produced_w !== null) produced = (produced ?? 0) + meter.produced_w;
    }
    if (meter.power_w > 0) taken += meter.power_w;
    else given -= meter.power_w;
  }
  if (own !== null) write("own", own);
  if (own !== null && produced !== null) {
    const used = watts(Math.max(0, own + produced));
    document.getElementById("roof").textContent = filled(body.roof, { produced: watts(produced), used });
  }
  write("net", taken - given);
  document.getElementById("homes").textContent = filled(body.homes, { taken: watts(taken), given: watts(given) });
  cover(taken, Math.min(given, taken));
}

function cover(taken, shared) {
  const share = taken ? shared / taken : 0;
  const text = taken ? filled(body.covered, { share: Math.round(100 * share) }) : "";
  document.getElementById("covered").textContent = text;
  const [, neighbours, grid] = document.getElementById("share-now").children;
  const width = Math.round(1000 * share);
  neighbours.setAttribute("width", width);
  grid.setAttribute("x", width);
  grid.setAttribute("width", taken ? 1000 - width : 0);
}

// --- clock and countdown

let base = Number(clock.dataset.now);
let since = performance.now();
const speed = Number(clock.dataset.speed);
const offset = Number(clock.dataset.offset);
const two = (number) => String(number).padStart(2, "0");

function tick() {
  const now = Math.floor((base + (performance.now() - since) * speed) / 1000);
  const local = now + offset;
  clock.textContent = `${two(Math.floor(local / 3600) % 24)}:${two(Math.floor(local / 60) % 60)}:${two(local % 60)}`;
  const place = document.getElementById("countdown");
  const progress = document.getElementById("progress");
  const left = Math.max(0, Number(place.dataset.end) - now);
  place.firstElementChild.textContent = `${Math.floor(left / 60)}:${two(left % 60)}`;
  progress.value = progress.max - left;
  if (left === 0) want(["period"], 700);
}
setInterval(tick, Math.max(100, 1000 / speed));

// --- news

const news = new EventSource("/api/events");
let begun = false;

news.addEventListener("hello", (event) => {
  const hello = JSON.parse(event.data);
  base = hello.now_ms;
  since = performance.now();
  meters.clear();
  hello.live.forEach(heard);
  link.className = "live";
  link.textContent = link.dataset.live;
  // After a break anything may have changed.
  if (begun) want(ALL, 0);
  begun = true;
});
news.addEventListener("live", (event) => {
  heard(JSON.parse(event.data));
  sum();
});
for (const [kind, [parts, wait]] of Object.entries(OLD)) news.addEventListener(kind, () => want(parts, wait));
news.onerror = () => {
  link.className = "lost";
  link.textContent = link.dataset.offline;
};
