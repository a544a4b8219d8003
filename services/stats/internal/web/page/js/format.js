// Numbers, times and names for people. JSON has 64-bit numbers as text: they are not made into floats to be shown.

const separator = ",";

export const count = (n) => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, separator);

export function short(n) {
  const value = Number(n);
  if (value < 1000) return String(value);
  if (value < 999_500) return `${(value / 1000).toFixed(value < 9950 ? 1 : 0)}k`;

  return `${(value / 1e6).toFixed(value < 9.95e6 ? 1 : 0)}M`;
}

// seconds reads protobuf's form of a duration, "1.5s"; null when there is none.
export const seconds = (duration) => (duration ? Number.parseFloat(duration) : null);

export function span(value) {
  if (value === 0) return "0 s";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 120) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172_800) return `${(value / 3600).toFixed(1)} h`;

  return `${(value / 86_400).toFixed(1)} d`;
}

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

export function when(time) {
  if (!time) return "";

  const date = new Date(time);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString()} `;

  return day + clock(date);
}

export const since = (time) => (time ? span(Math.max(0, (Date.now() - new Date(time)) / 1000)) : "");

export const namespace = (ns) => [ns?.database, ns?.collection].filter(Boolean).join(".");

export const position = (p) => (p ? `${p.seconds}.${p.increment}.${p.ordinal}` : "");

// ranges writes ascending numbers as 0-3, 7.
export function ranges(numbers) {
  const parts = [];

  for (let i = 0, j = 0; i < numbers.length; i = j) {
    for (j = i + 1; j < numbers.length && numbers[j] === numbers[j - 1] + 1; j++);
    parts.push(j - i > 1 ? `${numbers[i]}-${numbers[j - 1]}` : String(numbers[i]));
  }

  return parts.join(", ");
}

export const plural = (n, what) => `${count(n)} ${what}${String(n) === "1" ? "" : "s"}`;

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = Number(n);
  let i = 0;
  for (; value >= 1024 && i < units.length - 1; i++) value /= 1024;

  return `${i && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[i]}`;
}

// error is the target's last error with its code, which most texts have already.
export const error = (text, code) => (!code || text.includes(`(${code})`) ? text : `${text} (code ${code})`);

// word takes the enum's name off a value: STATUS_OK is OK.
export const word = (prefix, value) => String(value ?? "").replace(`${prefix}_`, "");
