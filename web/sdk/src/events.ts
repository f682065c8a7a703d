// Server-sent events over a stream of text, with the last id kept for coming again. A stream needs
// a header with the buyer's token, which EventSource cannot send. Where the server has no stream,
// whoever listens is told once, and polls.

/** One event. */
export interface ServerEvent {
  id: string
  name: string
  data: string
}

/** Opens a stream: the text as it comes; `undefined` where there is none to be had. MUST reject when the network fails. */
export type OpenStream = (path: string, lastId: string, signal: AbortSignal) => Promise<AsyncIterable<string> | undefined>

/** Splits text, in whatever pieces, into events. */
export class EventParser {
  #rest = ''
  #id = ''

  /** The id of the last event with one. */
  get lastId(): string {
    return this.#id
  }

  /** The events that are whole now. Comments, as heartbeats are, are none. */
  push(text: string): ServerEvent[] {
    const blocks = (this.#rest + text).replace(/\r\n/g, '\n').split('\n\n')
    this.#rest = blocks.pop() ?? ''
    return blocks.flatMap(block => {
      const event = { id: '', name: 'message', data: [] as string[] }
      for (const line of block.split('\n')) {
        const [, field, value = ''] = /^([a-z]+)(?:: ?(.*))?$/.exec(line) ?? []
        if (field === 'id') event.id = value
        if (field === 'event') event.name = value
        if (field === 'data') event.data.push(value)
      }
      if (event.id) this.#id = event.id
      return event.data.length ? [{ id: event.id, name: event.name, data: event.data.join('\n') }] : []
    })
  }

  /** Drops half an event: it comes again whole. */
  reset(): void {
    this.#rest = ''
  }
}

/** Pauses between two connections: the first, and how often it doubles. */
const AGAIN_MS = 500
const DOUBLINGS_MAX = 5

/**
 * Listens until `signal` ends it, and comes again with the last id after each loss. False when the
 * server has no such stream: poll.
 */
export async function listen(
  { open, sleep }: { open: OpenStream; sleep(ms: number): Promise<void> },
  path: string,
  hear: (event: ServerEvent) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const parser = new EventParser()
  for (let losses = 0; !signal.aborted; losses = Math.min(losses + 1, DOUBLINGS_MAX)) {
    try {
      const stream = await open(path, parser.lastId, signal)
      if (!stream) return false
      for await (const text of stream) {
        for (const event of parser.push(text)) {
          losses = 0
          hear(event)
        }
      }
    } catch {
      // Lost: the next connection goes on after the last id.
    }
    parser.reset()
    if (!signal.aborted) await sleep(AGAIN_MS * 2 ** losses)
  }
  return true
}

/** The browser's streams, with the buyer's token. */
export function fetchStream(token: () => string | undefined, origin = ''): OpenStream {
  return async (path, lastId, signal) => {
    const headers: Record<string, string> = { accept: 'text/event-stream' }
    const bearer = token()
    if (bearer) headers.authorization = `Bearer ${bearer}`
    if (lastId) headers['last-event-id'] = lastId
    const answer = await fetch(origin + path, { headers, signal, credentials: 'omit' })
    if (answer.status >= 500 || answer.status === 429) throw new Error('come again')
    const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream')
    return answer.ok && isStream && answer.body ? pieces(answer.body) : undefined
  }
}

async function* pieces(body: ReadableStream<Uint8Array>): AsyncIterable<string> {
  const [reader, decoder] = [body.getReader(), new TextDecoder()]
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    yield decoder.decode(piece.value, { stream: true })
  }
}
