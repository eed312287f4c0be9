import { Bell, Connection, DataLine, Document, Files, Setting, Share } from '@element-plus/icons-vue'
import type { Component } from 'vue'

/** An entry of the navigation. Its text is `<name>.title`, which the feature of that name brings. */
interface Section {
  name: string
  /** Name of the route that it leads to. */
  route: string
  icon: Component
}

export const sections: Section[] = [
  { name: 'dashboard', route: 'dashboard', icon: DataLine },
  { name: 'services', route: 'service-list', icon: Files },
  { name: 'connections', route: 'connection-list', icon: Connection },
  { name: 'routing', route: 'rule-list', icon: Share },
  { name: 'events', route: 'event-list', icon: Bell },
  { name: 'logs', route: 'log-search', icon: Document },
  { name: 'settings', route: 'settings', icon: Setting },
]
