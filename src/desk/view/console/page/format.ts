/** `3.4 ms`, `106 ms`, `1.24 s`, `2 min 3 s`; a dash for what is not known. */
export function duration(ms: number | undefined): string {
  if (ms === undefined) return '–';
  if (ms < 9.95) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_995) return `${Number((ms / 1000).toPrecision(3))} s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `14 B`, `1.2 KB`, `3 MB`. */
export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const unit = count < 1024 ** 2 ? 'KB' : count < 1024 ** 3 ? 'MB' : 'GB';
  const value = count / 1024 ** (1 + ['KB', 'MB', 'GB'].indexOf(unit));
  return `${Number(value.toPrecision(value < 10 ? 2 : 3))} ${unit}`;
}

/** MB as they are. */
export const megabytes = (mb: number | undefined): string => (mb ? `${Math.round(mb)} MB` : '–');

/** `10:55:34`, or with ms. */
export function timeOfDay(epoch: number, hasMs: boolean = false): string {
  const date = new Date(epoch);
  const two = (value: number): string => String(value).padStart(2, '0');
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return hasMs ? `${time}.${String(date.getMilliseconds()).padStart(3, '0')}` : time;
}

/** An amount that may be tiny: three digits of it. */
export const amount = (value: number): string =>
  value === 0 ? '0' : value < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));

/** `1 234`. */
export const count = (value: number): string => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, '\u202f');

/** What instances are shown by: FC's ids are long. */
export const shortId = (id: string): string => id.slice(0, 10);

/** `1 call`, `2 calls`. */
export const plural = (value: number, word: string): string => `${count(value)} ${word}${value === 1 ? '' : 's'}`;
