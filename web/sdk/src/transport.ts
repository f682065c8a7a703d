// How requests travel: a port with one function, so that a page (fetch) and a mini-program
// (wx.request) share all that is above it. It knows no route and repeats nothing.

/** A request. Paths begin with `/`. */
export interface Request {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  body?: string
  /** Milliseconds after which it is given up. */
  timeout: number
}

/** What came back, whatever its status. */
export interface Response {
  status: number
  /** A header by its name in small letters. */
  header(name: string): string | undefined
  body: string
}

/** MUST reject when no whole answer came, and only then. */
export type Transport = (request: Request) => Promise<Response>

/** The browser's transport. `origin`: before each path; empty for the page's own. */
export function fetchTransport(origin = ''): Transport {
  return async ({ method, path, headers, body, timeout }) => {
    const giveUp = new AbortController()
    const timer = setTimeout(() => giveUp.abort(), timeout)
    try {
      const init: RequestInit = { method, headers, signal: giveUp.signal, credentials: 'omit' }
      if (body !== undefined) init.body = body
      const answer = await fetch(origin + path, init)
      const text = await answer.text()
      return { status: answer.status, header: name => answer.headers.get(name) ?? undefined, body: text }
    } finally {
      clearTimeout(timer)
    }
  }
}
