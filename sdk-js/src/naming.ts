/** How names of the contract (`job_id`) are written in JavaScript (`jobId`), and back. */

/** The same rule as in scripts/generate.mjs, so that answers have the names of their types. */
export function toCamel(name: string): string {
  return name.replace(/(?<=[A-Za-z0-9])_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A name that is in snake_case already stays as it is. */
export function toSnake(name: string): string {
  return name.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
