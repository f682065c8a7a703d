// The server's clock: the offset of a monotonic local clock, from the sample with the shortest
// round trip. A phone's own time of day is never asked.

import type { Client } from './client'

/** Samples of one synchronisation. */
const SAMPLES = 4
/** A sample this fast is good enough alone. */
const GOOD_MS = 30

/** Time as the server has it. */
export class ServerClock {
  /** Server's epoch milliseconds at local zero; `undefined` before the first sample. */
  #offset: number | undefined
  #trip = Number.POSITIVE_INFINITY

  /** `local`: milliseconds of a clock that only runs forward, such as `performance.now`. */
  constructor(private readonly local: () => number) {}

  /** Whether the server was asked. */
  get isSet(): boolean {
    return this.#offset !== undefined
  }

  /** Epoch milliseconds by the server; `undefined` before the first sample. */
  now(): number | undefined {
    return this.#offset === undefined ? undefined : this.#offset + this.local()
  }

  /** Takes samples. `afresh`: after a sleep of the device, when the local clock may have stood. */
  async sync(client: Client, afresh = false): Promise<void> {
    if (afresh) this.#trip = Number.POSITIVE_INFINITY
    for (let sample = 0; sample < SAMPLES; sample++) {
      const sent = this.local()
      const answer = await client.time()
      const came = this.local()
      if (answer.is !== 'done') continue
      this.take(answer.value.epoch_ms, sent, came)
      if (this.#trip <= GOOD_MS) return
    }
  }

  /** One sample: what the server said, and when it was asked and heard by the local clock. */
  take(epochMs: number, sent: number, came: number): void {
    const trip = came - sent
    if (trip > this.#trip) return
    this.#trip = trip
    this.#offset = epochMs - (sent + trip / 2)
  }
}
