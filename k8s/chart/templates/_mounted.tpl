{{- /* Made by `make chart` from k8s/base and k8s/components: change those. */}}
{{- define "cloudoptim-agent.unmounted" -}}
{{ omit . "tasks-paused" "read-only" "allowed-task-types" "maintenance-windows" "protected-namespaces" "protected-labels" "allow-control-plane-nodes" "max-cordoned-nodes" "max-drains-per-hour" "max-evictions-per-hour" "task-signing-key" | toJson }}
{{- end }}
