/**
 * `node --import ./scripts/tsx.mjs FILE.ts` runs a TypeScript source as `tsx FILE.ts` does, without tsx's cache: that has a
 * name in the folder for temporary files that others can guess, and what they put there would be run.
 */
process.env.TSX_DISABLE_CACHE ??= '1'
const { register } = await import('tsx/esm/api')
register()
