/** Values of any type, as callers in JavaScript may give them. */

// The calls pass what TypeScript would not let them pass.
// biome-ignore lint/suspicious/noExplicitAny: that is what is tested
export type Given = any
