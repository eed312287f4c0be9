/** `../../features/<name>/locales/<language>.ts` by name: each feature has a namespace of its own. */
export function byFeature(modules: Record<string, { default: unknown }>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(modules).map(([path, module]) => [path.split('/').at(-3) ?? path, module.default]),
  )
}
