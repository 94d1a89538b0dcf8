/** Numbers, times and amounts as people read them. Units always stand beside the number. */

const whole = new Intl.NumberFormat("en");
const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** 12345 → "12,345". */
export const count = (n) => whole.format(n);

/** "1 profile", "2 profiles". */
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** Milliseconds → "0.4 s", "14 s", "2 min 5 s", "3 h 20 min", "7 days": two units at most. */
export function duration(ms) {
  if (ms < 10 * SECOND && ms % SECOND) return `${(Math.max(0, ms) / SECOND).toFixed(1)} s`;
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return pair(ms, MINUTE, "min", SECOND, "s");
  if (ms < 2 * DAY && ms !== DAY) return pair(ms, HOUR, "h", MINUTE, "min");
  return (
    plural(Math.floor(ms / DAY), "day") +
    (ms % DAY >= HOUR && ms < 10 * DAY ? ` ${Math.floor((ms % DAY) / HOUR)} h` : "")
  );
}

function pair(ms, big, bigName, small, smallName) {
  const rest = Math.floor((ms % big) / small);
  return `${Math.floor(ms / big)} ${bigName}${rest ? ` ${rest} ${smallName}` : ""}`;
}

/** An age that is watched: tenths of a second below ten seconds, whole seconds above. */
export const watched = (ms) =>
  ms < 10 * SECOND ? `${(Math.floor(ms / 100) / 10).toFixed(1)} s` : duration(Math.floor(ms / SECOND) * SECOND);

/** How long ago, in one unit: "just now", "14 s ago", "3 h ago"; "in 5 min" for what is to come. */
export function ago(ms) {
  if (Math.abs(ms) < SECOND) return "just now";
  const size = Math.abs(ms);
  const [unit, name] =
    size < MINUTE ? [SECOND, "s"] : size < HOUR ? [MINUTE, "min"] : size < 2 * DAY ? [HOUR, "h"] : [DAY, "days"];
  const words = `${Math.floor(size / unit)} ${name}`;
  return ms > 0 ? `${words} ago` : `in ${words}`;
}

/** Time of day, in the visitor's zone. */
export const timeOfDay = (ms) => clockFormat.format(ms);

/** Day and time, in the visitor's zone. */
export const dayAndTime = (ms) => `${dayFormat.format(ms)}, ${clockFormat.format(ms)}`;

/** Thousandths of a token per second → "38.2 tok/s". */
export const rate = (mtok) => `${(mtok / 1000).toFixed(1)} tok/s`;

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A decimal string in wei → "1,000 wei", and "2.5 × 10¹⁸ wei" where zeros would have to be counted. */
export function wei(text) {
  if (!/^\d+$/.test(text)) return `${text} wei`;
  if (text.length < 13) return `${whole.format(BigInt(text))} wei`;
  const digits = text.replace(/0+$/, "");
  if (digits.length > 6) return `${whole.format(BigInt(text))} wei`;
  const power = [...String(text.length - 1)].map((digit) => SUPERSCRIPT[digit]).join("");
  return `${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ""} × 10${power} wei`;
}

/** What a check observed or requires, with its bare milliseconds and wei made readable. */
export function readable(text) {
  return String(text)
    .replace(/\b(\d{13})\b/g, (_, ms) => dayAndTime(Number(ms)))
    .replace(/\b(\d+) ms\b/g, (_, ms) => duration(Number(ms)))
    .replace(/\b(\d+) wei\b/g, (_, amount) => wei(amount));
}

/** The first character in upper case. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
