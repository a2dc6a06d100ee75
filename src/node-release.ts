/**
 * Last day of security fixes for each major release; one that is not here is newer than we are.
 *
 * @see https://github.com/nodejs/Release
 */
const LAST_DAY: Readonly<Record<string, string>> = {
  16: '2023-09-11',
  17: '2022-06-01',
  18: '2025-04-30',
  19: '2023-06-01',
  20: '2026-04-30',
  21: '2024-06-01',
  22: '2027-04-30',
  23: '2025-06-01',
  24: '2028-04-30',
  25: '2026-06-01',
  26: '2029-04-30',
};

/**
 * Names a Node.js, and says so when there are no security fixes for it any more.
 *
 * @param version - as `process.version`.
 * @param today - in UTC.
 */
export function describeNode(version: string = process.version, today: Date = new Date()): string {
  const lastDay = LAST_DAY[Number.parseInt(version.slice(1), 10)];
  // days in this form sort by their letters
  const isOver = lastDay !== undefined && today.toISOString().slice(0, 10) > lastDay;
  return isOver ? `${version} (out of support since ${lastDay})` : version;
}
