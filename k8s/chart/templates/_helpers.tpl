{{- define "cloudoptim-agent.namespace" -}}
{{ .Values.namespace | default .Release.Namespace }}
{{- end }}

{{- define "cloudoptim-agent.labels" -}}
app: cloudoptim-agent
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cloudoptim-agent.image" -}}
{{- with .Values.image.digest -}}
{{ $.Values.image.repository }}@{{ . }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "cloudoptim-agent.secret" -}}
{{ .Values.existingSecret | default "cloudoptim-client-secret" }}
{{- end }}

{{- /* The ConfigMap's keys and values. */}}
{{- define "cloudoptim-agent.config" -}}
{{- $proxy := dict "HTTPS_PROXY" .Values.proxy.https "HTTP_PROXY" .Values.proxy.http "NO_PROXY" .Values.proxy.noProxy }}
{{- range $key, $value := .Values.config }}
{{ $key }}: {{ toString $value | toJson }}
{{- end }}
{{- range $key, $value := $proxy }}
{{- with $value }}
{{ $key }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Settings are read at the start, so a change of theirs restarts the pod; what is mounted is read anew. */}}
{{- define "cloudoptim-agent.checksum" -}}
checksum/config: {{ include "cloudoptim-agent.config" . | fromYaml | include "cloudoptim-agent.unmounted" | sha256sum }}
{{- end }}
