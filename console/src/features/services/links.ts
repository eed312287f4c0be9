/** Where the pages of a service are. Those that belong to other features are named by their address. */
const page = (name: string) => `/services/${encodeURIComponent(name)}`

export const toService = (name: string) => page(name)
export const toTry = (name: string) => `${page(name)}/try`
export const toEdit = (name: string) => ({ name: 'service-edit', params: { name } })
export const toNew = (kind?: string) => ({ name: 'service-new', query: kind === undefined ? {} : { kind } })
