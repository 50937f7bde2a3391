{{- define "sluice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "sluice.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.selector" -}}
app.kubernetes.io/name: {{ include "sluice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sluice.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{ include "sluice.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sluice.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "sluice.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "sluice.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The port of the probes alone: whoever fills that of the metrics takes no probe along. */}}
{{- define "sluice.probesPort" -}}
{{- if eq (int .Values.controller.probesPort) (int .Values.service.port) }}
{{- fail (printf "controller.probesPort and service.port are both %d; give the probes a port of their own, such as 8081" (int .Values.service.port)) }}
{{- end }}
{{- .Values.controller.probesPort }}
{{- end }}

{{/* Whether the controller listens over TLS for whoever the API server knows: where the panel shows what was measured, somebody asks
for it, or the metrics are protected. */}}
{{- define "sluice.tellsMeasurements" -}}
{{- if or .Values.measurements.enabled .Values.dashboard.enabled .Values.metrics.protected }}yes{{ end }}
{{- end }}

{{/* The Service of what was measured. */}}
{{- define "sluice.measurements" -}}
{{- printf "%s-measurements" (include "sluice.fullname" . | trunc 50 | trimSuffix "-") }}
{{- end }}

{{/* Who the controller is, for bindings and flow schemas. */}}
{{- define "sluice.subject" -}}
kind: ServiceAccount
name: {{ include "sluice.serviceAccount" . }}
namespace: {{ .Release.Namespace }}
{{- end }}

{{/* The text of a file with labels, and with annotations if there are any, put into its metadata. Only text is put in, so
that the rest is what the program ships, byte for byte. Takes (list root path annotations). */}}
{{- define "sluice.shipped" -}}
{{- $root := index . 0 }}
{{- $more := printf "labels:\n%s\n" (include "sluice.labels" $root | indent 2) }}
{{- with index . 2 }}
{{- $more = printf "%sannotations:\n%s\n" $more (toYaml . | indent 2) }}
{{- end }}
{{- $root.Files.Get (index . 1) | replace "\nmetadata:\n" (printf "\nmetadata:\n%s" ($more | trimSuffix "\n" | indent 2 | printf "%s\n")) }}
{{- end }}
