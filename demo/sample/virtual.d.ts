/** Given by plugin.ts. */
declare module 'virtual:fashion-mnist-sample' {
  const url: string
  export default url
}
