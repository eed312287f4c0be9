/** What other features use of services. */
export * from './model/list'
