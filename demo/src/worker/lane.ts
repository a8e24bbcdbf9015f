/** Tasks one after the other, in the order in which they were asked for. One that fails does not hold up the next. */
export class Lane {
  #last: Promise<unknown> = Promise.resolve()

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task)
    this.#last = result.catch(() => undefined)
    return result
  }
}
