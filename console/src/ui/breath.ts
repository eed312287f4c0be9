/** Ends a piece of work: what somebody does meanwhile is answered before the next. */
export const breath = () => new Promise<void>((resolve) => window.setTimeout(resolve))
