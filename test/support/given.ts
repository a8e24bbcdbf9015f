/** Values of any type, like those that JavaScript callers may pass. */

// The calls pass values that TypeScript would not allow.
// biome-ignore lint/suspicious/noExplicitAny: that is what is tested
export type Given = any
